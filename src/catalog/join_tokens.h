// The shared secret that lets a process into a cluster, and what is proved with it.
//
// The secret itself never crosses the wire: a registration or an announcement carries an HMAC-SHA256 over who
// it is from - cluster, incarnation, directory, addresses - under the first token of the file (Sign). Whoever
// answers makes the same for each of its own tokens and accepts any (Check), so that a cluster whose files
// hold two lines takes processes with either, and a token can be changed one process at a time.
//
// A proof holds for exactly the process and place that it names, and for ever: whoever reads the wire may
// send it again, and can say with it nothing but what was said. What it guards and what not:
// docs/operations.md, "Who may join".
//
// Threading: values. Copies hold the secret; it is never printed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tenure/internal/v1/agent.pb.h"
#include "tenure/internal/v1/controllers.pb.h"

namespace tenure::catalog {

class JoinTokens {
 public:
  static constexpr size_t kMinBytes = 16;
  static constexpr size_t kMaxBytes = 256;
  static constexpr size_t kMaxTokens = 2;

  // None: nothing is proved, everybody is accepted.
  JoinTokens() = default;
  // A token file's content: one or two lines, each a token of 16 to 256 printable ASCII characters without
  // spaces. INVALID_ARGUMENT names the line and the limit, and nothing of what the line holds.
  static StatusOr<JoinTokens> Parse(std::string_view text);

  bool required() const { return !tokens_.empty(); }

  // Without a token the proof stays empty.
  void Sign(::tenure::internal::v1::RegisterRequest& request) const;
  void Sign(::tenure::internal::v1::Announcement& announcement) const;
  // WRONG_TOKEN if this process has a token and the proof was made with none of its own.
  Status Check(const ::tenure::internal::v1::RegisterRequest& request) const;
  Status Check(const ::tenure::internal::v1::Announcement& announcement) const;

 private:
  Status CheckProof(std::string_view who, const std::string& statement, const std::string& proof) const;

  std::vector<std::string> tokens_;  // the first one is proved with, all are accepted
};

}  // namespace tenure::catalog
