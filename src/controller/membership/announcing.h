// What both ends of an announcement share: sending it, and which answers are final.
//
// Threading: the caller's executor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/status.h"
#include "catalog/join_tokens.h"
#include "runtime/network.h"
#include "tenure/internal/v1/controllers.pb.h"

namespace tenure::controller {

// The cluster as a controller's data directory knows it, and what lets processes into it.
struct OwnCluster {
  std::string id;  // empty: not known yet
  uint64_t incarnation = 1;
  catalog::JoinTokens tokens{};
};

inline constexpr std::string_view kAnnounceService = "tenure.internal.v1.Controllers";

// `done` with the answer, or the failure of the call.
void Announce(runtime::Network& network, const runtime::Endpoint& to,
              const ::tenure::internal::v1::Announcement& announcement,
              Callback<StatusOr<::tenure::internal::v1::AnnouncementAnswer>> done);

// The refusal that an answer stands for; OK for HEARD and RECORDED.
Status RefusalOf(const ::tenure::internal::v1::AnnouncementAnswer& answer);

// Adds what is not there yet, is not `self`, and fits.
void AddAddresses(const std::vector<std::string>& more, const std::string& self,
                  std::vector<runtime::Endpoint>& addresses);

}  // namespace tenure::controller
