#include "catalog/join_tokens.h"

#include <gtest/gtest.h>

#include "catalog/refusal.h"

namespace tenure::catalog {
namespace {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

JoinTokens Tokens(std::string_view text) {
  const auto tokens = JoinTokens::Parse(text);
  EXPECT_TRUE(tokens.ok()) << tokens.status();
  return tokens.ok() ? *tokens : JoinTokens();
}
std::string ErrorOf(std::string_view text) {
  const auto tokens = JoinTokens::Parse(text);
  return tokens.ok() ? "accepted" : std::string(MessageOf(tokens.status()));
}

ipb::RegisterRequest Node() {
  ipb::RegisterRequest request;
  request.set_cluster_id("c");
  request.set_incarnation(2);
  request.set_controller_id(3);
  request.mutable_node()->set_uuid("u");
  request.mutable_node()->set_name("n");
  request.mutable_node()->set_address("a:1");
  request.mutable_node()->set_resp_address("a:2");
  return request;
}
ipb::Announcement Controller() {
  ipb::Announcement announcement;
  announcement.set_cluster_id("c");
  announcement.set_incarnation(2);
  announcement.mutable_controller()->set_id(3);
  announcement.mutable_controller()->set_uuid("u");
  announcement.mutable_controller()->set_address("a:1");
  return announcement;
}

TEST(JoinTokensTest, AFileHasOneOrTwoTokensWithinTheLimits) {
  EXPECT_EQ(ErrorOf("0123456789abcdef"), "accepted");
  EXPECT_EQ(ErrorOf("0123456789abcdef\n"), "accepted");
  EXPECT_EQ(ErrorOf(std::string(256, '~') + "\n0123456789abcdef\n"), "accepted");
  EXPECT_EQ(ErrorOf(""), "it is empty: its first line is the token, 16 to 256 characters");
  EXPECT_EQ(ErrorOf("0123456789abcde\n"), "line 1 has 15 characters, a token has 16 to 256");
  EXPECT_EQ(ErrorOf("0123456789abcdef\n\n"), "line 2 has 0 characters, a token has 16 to 256");
  EXPECT_EQ(ErrorOf("0123456789abcdef\n" + std::string(257, 'x')),
            "line 2 has 257 characters, a token has 16 to 256");
  EXPECT_EQ(ErrorOf("0123456789abcdef \n"),
            "line 1, character 17: a token has printable ASCII characters only, and no spaces");
  EXPECT_EQ(ErrorOf("0123456789abc\xc3\xa9"
                    "f"),
            "line 1, character 14: a token has printable ASCII characters only, and no spaces");
  EXPECT_EQ(ErrorOf("0123456789abcdef\n0123456789abcdef\n0123456789abcdef\n"),
            "it has more than 2 lines: the token that is used, and one more that is accepted");
}

TEST(JoinTokensTest, WithoutATokenEverybodyIsAcceptedAndNothingProved) {
  const JoinTokens none;
  ipb::RegisterRequest request = Node();
  none.Sign(request);
  EXPECT_TRUE(request.join_proof().empty());
  EXPECT_TRUE(none.Check(request).ok());
  Tokens("0123456789abcdef").Sign(request);
  EXPECT_TRUE(none.Check(request).ok());
}

TEST(JoinTokensTest, TheFirstIsSentAndBothAreAccepted) {
  const JoinTokens before = Tokens("the-old-token-of-c"),
                   during = Tokens("the-old-token-of-c\nthe-new-token-of-c"),
                   turned = Tokens("the-new-token-of-c\nthe-old-token-of-c"),
                   after = Tokens("the-new-token-of-c");
  const JoinTokens* const stages[] = {&before, &during, &turned, &after};
  for (int from = 0; from < 4; ++from) {
    ipb::Announcement announcement = Controller();
    stages[from]->Sign(announcement);
    EXPECT_EQ(announcement.join_proof().size(), 32u);
    for (int by = 0; by < 4; ++by) {
      // Neighbouring stages of the change understand each other, in both directions.
      const Status status = stages[by]->Check(announcement);
      if (std::abs(from - by) <= 1) EXPECT_TRUE(status.ok()) << from << " by " << by;
      if (std::abs(from - by) == 3)
        EXPECT_TRUE(IsReason(status, pb::REASON_WRONG_TOKEN)) << from << " by " << by;
    }
  }
}

TEST(JoinTokensTest, AProofIsForOneProcessAtOnePlaceAndOnePurpose) {
  const JoinTokens tokens = Tokens("0123456789abcdef");
  const auto refused = [&](auto message, auto change) {
    tokens.Sign(message);
    EXPECT_TRUE(tokens.Check(message).ok());
    change(message);
    EXPECT_EQ(ReasonOf(tokens.Check(message)), pb::REASON_WRONG_TOKEN);
  };
  using Request = ipb::RegisterRequest&;
  refused(Node(), [](Request r) { r.set_cluster_id("d"); });
  refused(Node(), [](Request r) { r.set_incarnation(3); });
  refused(Node(), [](Request r) { r.set_controller_id(0); });
  refused(Node(), [](Request r) { r.mutable_node()->set_uuid("v"); });
  refused(Node(), [](Request r) { r.mutable_node()->set_address("b:1"); });
  refused(Node(), [](Request r) { r.mutable_node()->set_resp_address("b:2"); });
  refused(Node(), [](Request r) { r.mutable_node()->set_name("m"); });
  refused(Node(), [](Request r) { r.mutable_node()->set_zone("z"); });
  refused(Node(), [](Request r) { r.set_join_proof(r.join_proof().substr(1)); });
  using Announcement = ipb::Announcement&;
  refused(Controller(), [](Announcement a) { a.mutable_controller()->set_id(4); });
  refused(Controller(), [](Announcement a) { a.mutable_controller()->set_uuid("v"); });
  refused(Controller(), [](Announcement a) { a.mutable_controller()->set_address("b:1"); });
  refused(Controller(), [](Announcement a) { a.set_joining(true); });
  // Of a field's end and the next one's beginning.
  refused(Node(), [](Request r) {
    r.mutable_node()->set_uuid("ua");
    r.mutable_node()->set_address(":1");
  });
  // What a newer program says besides is no part of it.
  ipb::RegisterRequest request = Node();
  tokens.Sign(request);
  request.mutable_node()->set_software_version("later");
  EXPECT_TRUE(tokens.Check(request).ok());
}

TEST(JoinTokensTest, TheRefusalSaysWhoAndWhatToDoAndNoSecret) {
  const JoinTokens tokens = Tokens("0123456789abcdef");
  ipb::RegisterRequest request = Node();
  EXPECT_EQ(
      MessageOf(tokens.Check(request)),
      "node 'n' at a:1 gave no token: the first line of its --token-file must be a token of this cluster");
  Tokens("another-one-0123").Sign(request);
  EXPECT_EQ(MessageOf(tokens.Check(request)),
            "node 'n' at a:1 has another token than this cluster: the first line of its --token-file must be "
            "a token "
            "of this cluster");
}

// Computed by another implementation (Python's hmac) from the same bytes: a field's length as a varint before
// it, numbers as eight bytes, least significant first.
TEST(JoinTokensTest, TheProofIsHmacSha256OfTheFields) {
  ipb::Announcement announcement = Controller();
  Tokens("0123456789abcdef").Sign(announcement);
  std::string hex;
  for (const char c : announcement.join_proof()) hex += fmt::format("{:02x}", static_cast<uint8_t>(c));
  EXPECT_EQ(hex, "6cc1181b8c671316c2b3745e2b3bf99686bd016228c2af9b95415426c5811685");
}

}  // namespace
}  // namespace tenure::catalog
