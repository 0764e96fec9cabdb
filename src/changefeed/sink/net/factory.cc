#include "changefeed/sink/net/factory.h"

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "changefeed/sink/file_delivery.h"
#include "changefeed/sink/net/kafka_delivery.h"
#include "changefeed/sink/net/nats_delivery.h"
#include "changefeed/sink/net/redis_delivery.h"
#include "changefeed/sink/net/threaded_sink.h"
#include "changefeed/sink/text_delivery.h"

namespace tenure::changefeed {

namespace {

constexpr char kEndings[] = "threads that end";

Status ToStdout(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0)
    return OkStatus();
  return Error(StatusCode::kUnavailable, "stdout: {}", std::generic_category().message(errno));
}

// Whether files can be made in a directory.
class DirectoryTrial final : public BlockingDelivery {
 public:
  DirectoryTrial(runtime::Disk& disk, std::string directory)
      : disk_(disk), directory_(std::move(directory)) {}
  std::optional<FeedError> Open() override {
    const Status status = Try();
    if (status.ok()) return std::nullopt;
    return FeedError{.code = FeedErrorCode::kSinkUnavailable, .message = std::string(MessageOf(status))};
  }
  std::optional<FeedError> Deliver(std::vector<Item>&) override { return std::nullopt; }

 private:
  Status Try() {
    const std::string path = directory_ + "/.tenure-check";
    TENURE_RETURN_IF_ERROR(disk_.MakeDirectories(directory_));
    // Left by a check that was killed.
    if (disk_.Exists(path)) TENURE_RETURN_IF_ERROR(disk_.Remove(path));
    TENURE_RETURN_IF_ERROR(disk_.Open(path, runtime::OpenMode::kCreateNew).status());
    return disk_.Remove(path);
  }

  runtime::Disk& disk_;
  const std::string directory_;
};

// A sink that is made to see whether it opens; holds itself until it has answered.
class SinkProbe final : public SinkObserver, public std::enable_shared_from_this<SinkProbe> {
 public:
  using Maker = std::function<std::unique_ptr<Sink>(SinkObserver&)>;
  SinkProbe(runtime::Executor& executor, Callback<std::optional<FeedError>> done)
      : executor_(executor), done_(std::move(done)) {}

  void Run(const SinkAddress& address, const Maker& make) {
    sink_ = make(*this);
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

std::unique_ptr<Sink> MakeSink(runtime::Executor& executor, const Backgrounds& backgrounds,
                               SinkObserver& observer, const SinkIdentity& identity,
                               const SinkAddress& address, SinkLimits limits, WritePermit permit) {
  limits.timeout = address.timeout;
  const auto in_background = [&](const std::string& destination, Duration flush, const auto& make) {
    const std::shared_ptr<Background> background = backgrounds(destination);
    return std::make_unique<BackgroundSink>(
        executor, background, observer,
        BackgroundSinkOptions{.where = WithoutSecrets(address), .flush = flush}, limits, std::move(permit),
        make(background->disk));
  };
  std::unique_ptr<Delivery> delivery;
  switch (address.kind) {
    case SinkAddress::Kind::kFile:
      return in_background(address.target, address.flush, [&](runtime::Disk& disk) {
        return std::make_unique<FileDelivery>(disk, identity,
                                              FileDeliveryOptions{.directory = address.target,
                                                                  .protocol = address.protocol,
                                                                  .rotate_bytes = address.rotate_bytes});
      });
    case SinkAddress::Kind::kStdout:
      return in_background("stdout:", Duration::zero(),
                           [](runtime::Disk&) { return std::make_unique<TextDelivery>(&ToStdout); });
    case SinkAddress::Kind::kKafka:
      delivery = std::make_unique<KafkaDelivery>(address, identity, limits);
      break;
    case SinkAddress::Kind::kRedis:
      delivery = std::make_unique<RedisDelivery>(address);
      break;
    case SinkAddress::Kind::kNats:
      delivery = std::make_unique<NatsDelivery>(address, identity);
      break;
  }
  return std::make_unique<ThreadedSink>(executor, backgrounds(kEndings), observer, limits, std::move(permit),
                                        std::move(delivery));
}

void CheckSink(runtime::Executor& executor, const Backgrounds& backgrounds, const SinkAddress& address,
               Callback<std::optional<FeedError>> done) {
  if (address.kind == SinkAddress::Kind::kStdout) return done(std::nullopt);
  const auto always = [] { return true; };
  const auto make = [&](SinkObserver& observer) -> std::unique_ptr<Sink> {
    if (address.kind != SinkAddress::Kind::kFile) {
      const SinkIdentity identity{
          .changefeed = "tenure-check", .dispatcher = "check", .epoch = OwnerEpoch(1)};
      return MakeSink(executor, backgrounds, observer, identity, address, SinkLimits{}, always);
    }
    const std::shared_ptr<Background> background = backgrounds(address.target);
    return std::make_unique<BackgroundSink>(
        executor, background, observer, BackgroundSinkOptions{.where = WithoutSecrets(address), .flush = {}},
        SinkLimits{.timeout = address.timeout}, always,
        std::make_unique<DirectoryTrial>(background->disk, address.target));
  };
  std::make_shared<SinkProbe>(executor, std::move(done))->Run(address, make);
}

}  // namespace tenure::changefeed
