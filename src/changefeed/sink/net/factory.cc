#include "changefeed/sink/net/factory.h"

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "changefeed/sink/file_sink.h"
#include "changefeed/sink/net/kafka_delivery.h"
#include "changefeed/sink/net/nats_delivery.h"
#include "changefeed/sink/net/redis_delivery.h"
#include "changefeed/sink/text_sink.h"

namespace tenure::changefeed {

namespace {

Status ToStdout(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0)
    return OkStatus();
  return Error(StatusCode::kUnavailable, "stdout: {}", std::generic_category().message(errno));
}

Status TryDirectory(runtime::Disk& disk, const std::string& directory) {
  const std::string path = directory + "/.tenure-check";
  TENURE_RETURN_IF_ERROR(disk.MakeDirectories(directory));
  // Left by a check that was killed.
  if (disk.Exists(path)) TENURE_RETURN_IF_ERROR(disk.Remove(path));
  TENURE_RETURN_IF_ERROR(disk.Open(path, runtime::OpenMode::kCreateNew).status());
  return disk.Remove(path);
}

// A sink that is made to see whether it opens; holds itself until it has answered.
class SinkProbe final : public SinkObserver, public std::enable_shared_from_this<SinkProbe> {
 public:
  SinkProbe(runtime::Executor& executor, Callback<std::optional<FeedError>> done)
      : executor_(executor), done_(std::move(done)) {}

  void Run(runtime::Disk& disk, const SinkAddress& address) {
    const SinkIdentity identity{.changefeed = "tenure-check", .dispatcher = "check", .epoch = OwnerEpoch(1)};
    auto sink = MakeSink(executor_, disk, *this, identity, address, SinkLimits{}, [] { return true; });
    if (!sink.ok()) {
      return Finish(FeedError{.code = FeedErrorCode::kSinkUnavailable,
                              .message = std::string(MessageOf(sink.status()))});
    }
    sink_ = *std::move(sink);
    self_ = shared_from_this();
    const std::string where = WithoutSecrets(address);
    timer_ = executor_.After(address.timeout + std::chrono::seconds(1), [this, where] {
      Finish(FeedError{.code = FeedErrorCode::kSinkUnavailable, .message = where + ": does not answer"});
    });
  }
  void OnOpened() override { Finish(std::nullopt); }
  void OnFailed(FeedError error) override { Finish(std::move(error)); }
  void OnFlushed(uint64_t) override {}
  void OnWritable() override {}

 private:
  void Finish(std::optional<FeedError> error) {
    if (!done_) return;
    std::exchange(done_, nullptr)(std::move(error));
    timer_.Cancel();
    // The sink may be in the middle of the callback.
    executor_.Post([self = std::move(self_)] {
      if (self) self->sink_.reset();
    });
  }

  runtime::Executor& executor_;
  Callback<std::optional<FeedError>> done_;
  std::unique_ptr<Sink> sink_;
  runtime::Timer timer_;
  std::shared_ptr<SinkProbe> self_;
};

}  // namespace

StatusOr<std::unique_ptr<Sink>> MakeSink(runtime::Executor& executor, runtime::Disk& disk,
                                         SinkObserver& observer, const SinkIdentity& identity,
                                         const SinkAddress& address, SinkLimits limits, WritePermit permit) {
  limits.timeout = address.timeout;
  std::unique_ptr<Delivery> delivery;
  switch (address.kind) {
    case SinkAddress::Kind::kFile: {
      auto sink = std::make_unique<FileSink>(executor, disk, observer, identity,
                                             FileSinkOptions{.directory = address.target,
                                                             .protocol = address.protocol,
                                                             .rotate_bytes = address.rotate_bytes,
                                                             .flush = address.flush},
                                             limits, std::move(permit));
      TENURE_RETURN_IF_ERROR(sink->Open());
      return sink;
    }
    case SinkAddress::Kind::kStdout:
      return std::make_unique<TextSink>(executor, observer, &ToStdout, limits, std::move(permit));
    case SinkAddress::Kind::kKafka:
      delivery = std::make_unique<KafkaDelivery>(address, identity, limits);
      break;
    case SinkAddress::Kind::kRedis:
      delivery = std::make_unique<RedisDelivery>(address);
      break;
    case SinkAddress::Kind::kNats:
      delivery = std::make_unique<NatsDelivery>(address);
      break;
  }
  return std::make_unique<ThreadedSink>(executor, observer, limits, std::move(permit), std::move(delivery));
}

void CheckSink(runtime::Executor& executor, runtime::Disk& disk, const SinkAddress& address,
               Callback<std::optional<FeedError>> done) {
  if (address.kind == SinkAddress::Kind::kStdout) return done(std::nullopt);
  if (address.kind == SinkAddress::Kind::kFile) {
    const Status status = TryDirectory(disk, address.target);
    if (status.ok()) return done(std::nullopt);
    return done(
        FeedError{.code = FeedErrorCode::kSinkUnavailable, .message = std::string(MessageOf(status))});
  }
  std::make_shared<SinkProbe>(executor, std::move(done))->Run(disk, address);
}

}  // namespace tenure::changefeed
