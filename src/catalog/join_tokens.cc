#include "catalog/join_tokens.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/codec.h"
#include "base/format.h"
#include "catalog/refusal.h"

namespace tenure::catalog {
namespace {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

// What is proved, field by field: protobuf's own bytes differ between programs of different versions. The
// first field keeps a proof for one purpose from being one for another.
std::string Statement(std::string_view purpose, const std::string& cluster, uint64_t incarnation,
                      uint64_t controller, std::initializer_list<std::string_view> identity) {
  std::string statement;
  PutPrefixed(statement, purpose);
  PutPrefixed(statement, cluster);
  PutFixed64(statement, incarnation);
  PutFixed64(statement, controller);
  for (const std::string_view field : identity) PutPrefixed(statement, field);
  return statement;
}

std::string StatementOf(const ipb::RegisterRequest& request) {
  const pb::NodeRecord& node = request.node();
  return Statement("tenure register 1", request.cluster_id(), request.incarnation(), request.controller_id(),
                   {node.uuid(), node.address(), node.resp_address(), node.name(), node.zone()});
}

std::string StatementOf(const ipb::Announcement& announcement) {
  const pb::ControllerRecord& controller = announcement.controller();
  return Statement(announcement.joining() ? "tenure join 1" : "tenure announce 1", announcement.cluster_id(),
                   announcement.incarnation(), controller.id(),
                   {controller.uuid(), controller.address(), controller.name(), controller.zone()});
}

std::string Proof(const std::string& token, const std::string& statement) {
  std::string proof(EVP_MAX_MD_SIZE, '\0');
  unsigned int size = 0;
  const unsigned char* made = HMAC(EVP_sha256(), token.data(), static_cast<int>(token.size()),
                                   reinterpret_cast<const unsigned char*>(statement.data()), statement.size(),
                                   reinterpret_cast<unsigned char*>(proof.data()), &size);
  TENURE_CHECK(made != nullptr, "no HMAC-SHA256 of {} bytes could be made", statement.size());
  proof.resize(size);
  return proof;
}

// In a time that does not tell how much of it is right.
bool Equal(const std::string& a, const std::string& b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Status CheckToken(std::string_view token, size_t line) {
  if (token.size() < JoinTokens::kMinBytes || token.size() > JoinTokens::kMaxBytes) {
    return Error(StatusCode::kInvalidArgument, "line {} has {} characters, a token has {} to {}", line,
                 token.size(), JoinTokens::kMinBytes, JoinTokens::kMaxBytes);
  }
  const auto bad = std::find_if(token.begin(), token.end(), [](char c) { return c <= ' ' || c > '~'; });
  if (bad != token.end()) {
    return Error(StatusCode::kInvalidArgument,
                 "line {}, character {}: a token has printable ASCII characters only, and no spaces", line,
                 bad - token.begin() + 1);
  }
  return OkStatus();
}

}  // namespace

StatusOr<JoinTokens> JoinTokens::Parse(std::string_view text) {
  JoinTokens parsed;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view token = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (parsed.tokens_.size() == kMaxTokens) {
      return Error(StatusCode::kInvalidArgument,
                   "it has more than {} lines: the token that is used, and one more that is accepted",
                   kMaxTokens);
    }
    TENURE_RETURN_IF_ERROR(CheckToken(token, parsed.tokens_.size() + 1));
    parsed.tokens_.emplace_back(token);
  }
  if (parsed.tokens_.empty()) {
    return Error(StatusCode::kInvalidArgument,
                 "it is empty: its first line is the token, {} to {} characters", kMinBytes, kMaxBytes);
  }
  return parsed;
}

void JoinTokens::Sign(ipb::RegisterRequest& request) const {
  request.set_join_proof(tokens_.empty() ? std::string() : Proof(tokens_.front(), StatementOf(request)));
}

void JoinTokens::Sign(ipb::Announcement& announcement) const {
  announcement.set_join_proof(tokens_.empty() ? std::string()
                                              : Proof(tokens_.front(), StatementOf(announcement)));
}

Status JoinTokens::Check(const ipb::RegisterRequest& request) const {
  const pb::NodeRecord& node = request.node();
  return CheckProof(fmt::format("node '{}' at {}", node.name(), node.address()), StatementOf(request),
                    request.join_proof());
}

Status JoinTokens::Check(const ipb::Announcement& announcement) const {
  const pb::ControllerRecord& controller = announcement.controller();
  return CheckProof(fmt::format("controller {} at {}", controller.id(), controller.address()),
                    StatementOf(announcement), announcement.join_proof());
}

Status JoinTokens::CheckProof(std::string_view who, const std::string& statement,
                              const std::string& proof) const {
#ifdef TENURE_MUTANT_token_ignored
  return OkStatus();
#endif
  if (tokens_.empty()) return OkStatus();
  for (const std::string& token : tokens_) {
    if (Equal(Proof(token, statement), proof)) return OkStatus();
  }
  return Refuse(pb::REASON_WRONG_TOKEN,
                "{} {}: the first line of its --token-file must be a token of this cluster", who,
                proof.empty() ? "gave no token" : "has another token than this cluster");
}

}  // namespace tenure::catalog
