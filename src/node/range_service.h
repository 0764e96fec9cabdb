// Changes which slots the regions led here serve, through their logs, as procedures of the leading controller
// and copies from other nodes ask (tenure.internal.v1.NodeInternal/ChangeRange). Whether a change fits is for
// the log to say (store/region_range.h): what is asked here may be late, or asked twice.
//
// Threading: one executor.
// Ordering:  answered when the change is applied here; a reading of the range is linearizable.
// Errors:    FAILED_PRECONDITION: not led here. CONDITION_FAILED: it does not fit, nothing has happened.
//            BUSY, UNAVAILABLE: nothing has happened. UNKNOWN_OUTCOME: its leader left office meanwhile.
#pragma once

#include <optional>
#include <string>

#include "group/group_host.h"
#include "node/agent.h"
#include "node/region_table.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "store/region_range.h"
#include "tenure/internal/v1/node.pb.h"

namespace tenure::node {

class RangeService {
 public:
  using Response = ::tenure::internal::v1::ChangeRangeResponse;

  RangeService(runtime::Executor& executor, group::GroupHost& host, RegionTable& table, const Agent& agent)
      : executor_(executor), host_(host), table_(table), agent_(agent) {}
  void SetClusterId(std::string cluster_id) { cluster_id_ = std::move(cluster_id); }

  void OnChangeRange(const std::string& request, runtime::Reply reply);

 private:
  void Read(RegionId region, Callback<StatusOr<Response>> done);
  void Change(RegionId region, store::RangeCommand command, Callback<StatusOr<Response>> done);
  StatusOr<Response> AnswerOf(RegionId region, const group::ProposeOutcome& outcome) const;
  StatusOr<Response> Describe(RegionId region, uint64_t result) const;

  runtime::Executor& executor_;
  group::GroupHost& host_;
  RegionTable& table_;
  const Agent& agent_;
  std::string cluster_id_;
};

}  // namespace tenure::node
