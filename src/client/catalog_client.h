// The catalog and the cluster as typed calls. Changes are given request ids, so that they may be sent as
// often as it takes and take effect once; a session that the controllers have forgotten is replaced by a new
// one.
//
// Every call exists with a callback and as a task (…Task), which ends CANCELLED if `stop` comes first.
// Threading:  one executor.
// Lifetime:   destruction drops pending callbacks without running them; tasks are joined by their scope
//             before.
// Errors:     as in ControllerClient; changes end UNKNOWN_OUTCOME if nobody can say.
#pragma once

#include <memory>
#include <string>

#include "base/function.h"
#include "base/prng.h"
#include "base/status.h"
#include "client/controller_client.h"
#include "client/request_ids.h"
#include "runtime/executor.h"
#include "runtime/task.h"
#include "tenure/v1/catalog.pb.h"
#include "tenure/v1/cluster.pb.h"

namespace tenure::client {

class CatalogClient {
 public:
  template <class Response>
  using Done = Callback<StatusOr<Response>>;

  // All must outlive this.
  CatalogClient(runtime::Executor& executor, ControllerClient& controllers, Prng prng);
  ~CatalogClient();
  CatalogClient(const CatalogClient&) = delete;
  CatalogClient& operator=(const CatalogClient&) = delete;

  void PutEntry(::tenure::v1::PutEntryRequest request, Duration timeout,
                Done<::tenure::v1::ChangeResponse> done);
  void DeleteEntry(::tenure::v1::DeleteEntryRequest request, Duration timeout,
                   Done<::tenure::v1::ChangeResponse> done);
  // A stale read is answered by any controller.
  void GetEntry(const ::tenure::v1::GetEntryRequest& request, Duration timeout,
                Done<::tenure::v1::GetEntryResponse> done);
  void List(const ::tenure::v1::ListRequest& request, Duration timeout,
            Done<::tenure::v1::ListResponse> done);
  // Answered when the database is public or the time is up: look at the record's state.
  void CreateDatabase(::tenure::v1::CreateDatabaseRequest request, Duration timeout,
                      Done<::tenure::v1::ChangeResponse> done);
  void DropDatabase(::tenure::v1::DropDatabaseRequest request, Duration timeout,
                    Done<::tenure::v1::ChangeResponse> done);
  void GetDatabase(const ::tenure::v1::GetDatabaseRequest& request, Duration timeout,
                   Done<::tenure::v1::GetDatabaseResponse> done);
  // From any controller.
  void ClusterStatus(Duration timeout, Done<::tenure::v1::StatusResponse> done);
  void TransferLeadership(const ::tenure::v1::TransferLeadershipRequest& request, Duration timeout,
                          Done<::tenure::v1::TransferLeadershipResponse> done);
  void ListRegions(const ::tenure::v1::ListRegionsRequest& request, Duration timeout,
                   Done<::tenure::v1::ListRegionsResponse> done);
  void TransferRegion(const ::tenure::v1::TransferRegionRequest& request, Duration timeout,
                      Done<::tenure::v1::TransferRegionResponse> done);

  runtime::Task<StatusOr<::tenure::v1::ChangeResponse>> PutEntryTask(::tenure::v1::PutEntryRequest request,
                                                                     Duration timeout,
                                                                     runtime::StopToken stop);
  runtime::Task<StatusOr<::tenure::v1::ChangeResponse>> DeleteEntryTask(
      ::tenure::v1::DeleteEntryRequest request, Duration timeout, runtime::StopToken stop);
  runtime::Task<StatusOr<::tenure::v1::GetEntryResponse>> GetEntryTask(::tenure::v1::GetEntryRequest request,
                                                                       Duration timeout,
                                                                       runtime::StopToken stop);
  runtime::Task<StatusOr<::tenure::v1::ListResponse>> ListTask(::tenure::v1::ListRequest request,
                                                               Duration timeout, runtime::StopToken stop);
  runtime::Task<StatusOr<::tenure::v1::ChangeResponse>> CreateDatabaseTask(
      ::tenure::v1::CreateDatabaseRequest request, Duration timeout, runtime::StopToken stop);

  ControllerClient& controllers() { return controllers_; }

 private:
  template <class Request>
  void Change(std::string_view method, Request request, Duration timeout, bool slow,
              Done<::tenure::v1::ChangeResponse> done);

  runtime::Executor& executor_;
  ControllerClient& controllers_;
  RequestIds ids_;
  Instant last_change_{};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::client
