#include "sim/strangers.h"

#include <fmt/format.h>

#include "base/format.h"
#include "catalog/catalog.h"
#include "catalog/refusal.h"
#include "sim/world.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

void Strangers::Try() {
  ipb::RegisterRequest node;
  node.mutable_node()->set_uuid("a stranger");
  node.mutable_node()->set_name("stranger");
  node.mutable_node()->set_address("10.9.9.9:700");
  node.mutable_node()->set_resp_address("10.9.9.9:701");
  node.mutable_node()->set_newest_format(catalog::kNewestFormat);
  // Says it is a member, whom Raft messages would be sent to.
  ipb::Announcement member;
  pb::ControllerRecord& controller = *member.mutable_controller();
  controller.set_id(1);
  controller.set_uuid(world_.machines().front()->controller_uuid);
  controller.set_name("1");
  controller.set_address("10.9.9.9:700");
  controller.set_newest_format(catalog::kNewestFormat);

  Register("without a token", node);
  Announce("without a token", member);

  const catalog::JoinTokens other = *catalog::JoinTokens::Parse("a-token-of-another-cluster");
  other.Sign(node);
  other.Sign(member);
  Register("with another token", node);
  Announce("with another token", member);

  // The proof of a member, overheard.
  const catalog::JoinTokens right = world_.Tokens(0);
  node.mutable_node()->set_address("10.0.0.1:700");
  right.Sign(node);
  node.mutable_node()->set_address("10.9.9.9:700");
  controller.set_address("10.0.0.1:700");
  right.Sign(member);
  controller.set_address("10.9.9.9:700");
  Register("with a member's proof", node);
  Announce("with a member's proof", member);
}

void Strangers::Register(const std::string& how, const ipb::RegisterRequest& request) {
  ++waiting_;
  world_.Ask("tenure.internal.v1.Agent/Register", request.SerializeAsString(),
             [this, who = "a node " + how](const StatusOr<std::string>& answer) {
               OnAnswer(who, catalog::IsReason(answer.status(), pb::REASON_WRONG_TOKEN),
                        answer.ok() ? "registered" : std::string(MessageOf(answer.status())));
             });
}

void Strangers::Announce(const std::string& how, const ipb::Announcement& announcement) {
  ++waiting_;
  world_.Ask("tenure.internal.v1.Controllers/Announce", announcement.SerializeAsString(),
             [this, who = "a controller " + how](const StatusOr<std::string>& bytes) {
               ipb::AnnouncementAnswer answer;
               if (!bytes.ok() || !answer.ParseFromString(*bytes))
                 return OnAnswer(who, false, std::string(MessageOf(bytes.status())));
               OnAnswer(
                   who, answer.verdict() == ipb::ANNOUNCEMENT_WRONG_TOKEN,
                   fmt::format("{} {}", ipb::AnnouncementVerdict_Name(answer.verdict()), answer.message()));
             });
}

void Strangers::OnAnswer(const std::string& who, bool turned_away, const std::string& said) {
  --waiting_;
  if (!turned_away) world_.Fail("nobody is let in without the token", fmt::format("{}: {}", who, said));
}

}  // namespace tenure::sim
