#include "sim/feed_mail.h"

#include <fmt/format.h>

#include <utility>

#include "changefeed/agent/messenger.h"
#include "changefeed/protocol/acceptance.h"
#include "sim/feed_checker.h"

namespace tenure::sim {

namespace ipb = ::tenure::internal::v1;

namespace {

constexpr char kMailHost[] = "mail";
constexpr char kRefused[] = "F12 nobody is heard in another's epoch, or without one";
constexpr Duration kTimeout = std::chrono::seconds(3);

// The acceptance that an answer carries; 0: it carries none.
int AcceptanceIn(const ipb::ChangefeedMessage& answer) {
  using Body = ipb::ChangefeedMessage::BodyCase;
  switch (answer.body_case()) {
    case Body::kAnswer:
      return answer.answer().acceptance();
    case Body::kRemovedMaintainer:
      return answer.removed_maintainer().acceptance();
    case Body::kDispatchersBootstrapped:
      return answer.dispatchers_bootstrapped().acceptance();
    case Body::kDispatcherScheduled:
      return answer.dispatcher_scheduled().acceptance();
    default:
      return 0;
  }
}

}  // namespace

FeedMail::FeedMail(World& world, Prng prng)
    : world_(world),
      prng_(prng),
      clock_(world.scheduler(), Instant(std::chrono::seconds(1000)), WallFromMillis(1'700'000'000'000)),
      process_(world.scheduler(), clock_, kMailHost, prng.Fork("process")),
      executor_(process_.AddExecutor("mail")) {
  world_.network().AddHost(process_, kMailHost);
  network_ = world_.network().MakeView(process_, executor_);
  if (world_.options().changefeeds > 0) world_.network().SetWatcher(this);
}

FeedMail::~FeedMail() {
  world_.network().SetWatcher(nullptr);
  process_.Kill();
}

void FeedMail::OnSent(const Endpoint& from, const Endpoint& to, std::string_view method,
                      const std::string& request) {
  if (method != changefeed::Messenger::kNode || from == kMailHost || world_.calm()) return;
  const uint64_t draw = prng_.Below(40);
  if (draw < 2) return Repeat(to, request);
  if (draw > 3) return;
  Envelope envelope;
  if (!envelope.ParseFromString(request)) return;
  if (draw == 2 || envelope.message().has_add_maintainer()) return ForgeEpoch(std::move(envelope));
  ForgeOwner(to, std::move(envelope));
}

void FeedMail::OnAnswered(const Endpoint& to, std::string_view method, const std::string& request,
                          const std::string& answer) {
  if (method != changefeed::Messenger::kNode) return;
  Envelope envelope;
  ipb::ChangefeedMessage said;
  if (!envelope.ParseFromString(request) || !envelope.message().has_remove_maintainer()) return;
  if (said.ParseFromString(answer) && said.has_removed_maintainer())
    world_.feed_checker().OnRemoved(to, envelope.message().remove_maintainer(), said.removed_maintainer());
}

void FeedMail::Repeat(const Endpoint& to, const std::string& request) {
  ++repeated_;
  const Duration delay = std::chrono::milliseconds(prng_.Between(1, prng_.Chance(1, 2) ? 500 : 15'000));
  Send(to, delay, request, [](const StatusOr<std::string>&) {});
}

void FeedMail::ForgeOwner(const Endpoint& to, Envelope envelope) {
  ipb::ChangefeedMessage& message = *envelope.mutable_message();
  ipb::ChangefeedSender* sender = nullptr;
  if (message.has_bootstrap_dispatchers()) sender = message.mutable_bootstrap_dispatchers()->mutable_sender();
  if (message.has_post_bootstrap()) sender = message.mutable_post_bootstrap()->mutable_sender();
  if (message.has_schedule_dispatcher()) sender = message.mutable_schedule_dispatcher()->mutable_sender();
  if (message.has_dispatcher_barrier()) sender = message.mutable_dispatcher_barrier()->mutable_sender();
  if (sender == nullptr) return;
  // Another node, or another process of the same.
  if (prng_.Chance(1, 2)) {
    sender->set_node(sender->node() % world_.machines().size() + 1);
  } else {
    sender->set_incarnation(sender->incarnation() + 1);
  }
  SendForged(to, std::chrono::milliseconds(prng_.Between(1, 50)), envelope);
}

void FeedMail::ForgeEpoch(Envelope envelope) {
  ipb::RemoveMaintainer remove;
  if (envelope.message().has_add_maintainer()) {
    *remove.mutable_sender() = envelope.message().add_maintainer().sender();
    remove.set_changefeed(envelope.message().add_maintainer().changefeed());
  } else if (envelope.message().has_remove_maintainer()) {
    remove = envelope.message().remove_maintainer();
    remove.clear_owner_epoch();
  } else {
    return;
  }
  *envelope.mutable_message()->mutable_remove_maintainer() = std::move(remove);
  for (const Endpoint& to : world_.NodeAddresses()) {
    SendForged(to, std::chrono::milliseconds(prng_.Between(1, 20)), envelope);
  }
}

void FeedMail::SendForged(const Endpoint& to, Duration delay, const Envelope& envelope) {
  ++forged_;
  Send(to, delay, envelope.SerializeAsString(),
       [this, to, message = envelope.message()](const StatusOr<std::string>& bytes) {
         ipb::ChangefeedMessage answer;
         if (!bytes.ok() || !answer.ParseFromString(*bytes)) return;
         const auto acceptance = static_cast<changefeed::Acceptance>(AcceptanceIn(answer));
         if (!changefeed::IsAccepted(acceptance)) return;
         world_.Fail(kRefused, fmt::format("{} answers \"{}\" to {}", to, changefeed::NameOf(acceptance),
                                           message.ShortDebugString()));
       });
}

void FeedMail::Send(const Endpoint& to, Duration delay, std::string request,
                    Callback<StatusOr<std::string>> done) {
  world_.scheduler().After(
      delay, "old mail", [this, to, request = std::move(request), done = std::move(done)]() mutable {
        executor_.Post([this, to, request = std::move(request), done = std::move(done)]() mutable {
          network_->Call(to, changefeed::Messenger::kNode, std::move(request), kTimeout, std::move(done));
        });
      });
}

}  // namespace tenure::sim
