#include "client/catalog_client.h"

#include <utility>

#include "catalog/refusal.h"

namespace tenure::client {

namespace pb = ::tenure::v1;

namespace {

template <class Response, class Start>
runtime::Task<StatusOr<Response>> AsTask(runtime::Executor& executor, runtime::StopToken stop, Start start) {
  co_return co_await runtime::AsyncUntil<StatusOr<Response>>(executor, stop, std::move(start));
}

}  // namespace

CatalogClient::CatalogClient(runtime::Executor& executor, ControllerClient& controllers, Prng prng)
    : executor_(executor),
      controllers_(controllers),
      ids_(prng.Fork("client id")),
      last_change_(executor.Now()) {}

CatalogClient::~CatalogClient() {
  *alive_ = false;
}

template <class Request>
void CatalogClient::Change(std::string_view method, Request request, Duration timeout, bool slow,
                           Done<pb::ChangeResponse> done) {
  const Instant now = executor_.Now();
  if (now - last_change_ > RequestIds::kSessionIdle && ids_.unanswered() == 0) ids_.Renew();
  last_change_ = now;
  const pb::RequestId id = ids_.Next();
  *request.mutable_id() = id;
  CallOptions options;
  options.timeout = timeout;
  options.changes = true;
  options.maybe_executed = std::make_shared<bool>(false);
  if (slow) options.attempt_timeout = timeout;
  controllers_.Call<pb::ChangeResponse>(
      method, request, options,
      [this, alive = alive_, id, method = std::string(method), request, slow, maybe = options.maybe_executed,
       deadline = now + timeout, done = std::move(done)](StatusOr<pb::ChangeResponse> response) mutable {
        if (!*alive) return;
        ids_.Done(id);
        if (!catalog::IsReason(response.status(), pb::REASON_DUPLICATE_EXPIRED))
          return done(std::move(response));
        // The session is gone. No attempt of this request can have been executed: it is new in the next
        // session.
        const Duration left = deadline - executor_.Now();
        if (!*maybe && left > Duration::zero()) {
          if (id.client_id() == ids_.client_id()) ids_.Renew();
          return Change(method, std::move(request), left, slow, std::move(done));
        }
        done(catalog::MakeRefusal(pb::REASON_UNKNOWN_OUTCOME, std::string(MessageOf(response.status()))));
      });
}

void CatalogClient::PutEntry(pb::PutEntryRequest request, Duration timeout, Done<pb::ChangeResponse> done) {
  Change("tenure.v1.Catalog/PutEntry", std::move(request), timeout, false, std::move(done));
}

void CatalogClient::DeleteEntry(pb::DeleteEntryRequest request, Duration timeout,
                                Done<pb::ChangeResponse> done) {
  Change("tenure.v1.Catalog/DeleteEntry", std::move(request), timeout, false, std::move(done));
}

void CatalogClient::CreateDatabase(pb::CreateDatabaseRequest request, Duration timeout,
                                   Done<pb::ChangeResponse> done) {
  Change("tenure.v1.Catalog/CreateDatabase", std::move(request), timeout, true, std::move(done));
}

void CatalogClient::DropDatabase(pb::DropDatabaseRequest request, Duration timeout,
                                 Done<pb::ChangeResponse> done) {
  Change("tenure.v1.Catalog/DropDatabase", std::move(request), timeout, false, std::move(done));
}

void CatalogClient::GetEntry(const pb::GetEntryRequest& request, Duration timeout,
                             Done<pb::GetEntryResponse> done) {
  CallOptions options{.timeout = timeout, .any_controller = request.read().stale()};
  controllers_.Call<pb::GetEntryResponse>("tenure.v1.Catalog/GetEntry", request, options, std::move(done));
}

void CatalogClient::List(const pb::ListRequest& request, Duration timeout, Done<pb::ListResponse> done) {
  CallOptions options{.timeout = timeout, .any_controller = request.read().stale()};
  controllers_.Call<pb::ListResponse>("tenure.v1.Catalog/List", request, options, std::move(done));
}

void CatalogClient::GetDatabase(const pb::GetDatabaseRequest& request, Duration timeout,
                                Done<pb::GetDatabaseResponse> done) {
  CallOptions options{.timeout = timeout, .any_controller = request.read().stale()};
  controllers_.Call<pb::GetDatabaseResponse>("tenure.v1.Catalog/GetDatabase", request, options,
                                             std::move(done));
}

void CatalogClient::ClusterStatus(Duration timeout, Done<pb::StatusResponse> done) {
  CallOptions options{.timeout = timeout, .any_controller = true};
  controllers_.Call<pb::StatusResponse>("tenure.v1.Cluster/Status", pb::StatusRequest(), options,
                                        std::move(done));
}

void CatalogClient::TransferLeadership(const pb::TransferLeadershipRequest& request, Duration timeout,
                                       Done<pb::TransferLeadershipResponse> done) {
  // Asked twice it would hand over twice: not repeated once it may have been done.
  CallOptions options{
      .timeout = timeout, .attempt_timeout = timeout, .idempotent = request.to() != 0, .changes = true};
  controllers_.Call<pb::TransferLeadershipResponse>("tenure.v1.Cluster/TransferLeadership", request, options,
                                                    std::move(done));
}

void CatalogClient::ListRegions(const pb::ListRegionsRequest& request, Duration timeout,
                                Done<pb::ListRegionsResponse> done) {
  controllers_.Call<pb::ListRegionsResponse>("tenure.v1.Regions/List", request, {.timeout = timeout},
                                             std::move(done));
}

void CatalogClient::TransferRegion(const pb::TransferRegionRequest& request, Duration timeout,
                                   Done<pb::TransferRegionResponse> done) {
  CallOptions options{.timeout = timeout, .attempt_timeout = timeout, .changes = true};
  controllers_.Call<pb::TransferRegionResponse>("tenure.v1.Regions/TransferLeader", request, options,
                                                std::move(done));
}

runtime::Task<StatusOr<pb::ChangeResponse>> CatalogClient::PutEntryTask(pb::PutEntryRequest request,
                                                                        Duration timeout,
                                                                        runtime::StopToken stop) {
  auto start = [this, request = std::move(request), timeout](Done<pb::ChangeResponse> done) mutable {
    PutEntry(std::move(request), timeout, std::move(done));
  };
  return AsTask<pb::ChangeResponse>(executor_, std::move(stop), std::move(start));
}

runtime::Task<StatusOr<pb::ChangeResponse>> CatalogClient::DeleteEntryTask(pb::DeleteEntryRequest request,
                                                                           Duration timeout,
                                                                           runtime::StopToken stop) {
  auto start = [this, request = std::move(request), timeout](Done<pb::ChangeResponse> done) mutable {
    DeleteEntry(std::move(request), timeout, std::move(done));
  };
  return AsTask<pb::ChangeResponse>(executor_, std::move(stop), std::move(start));
}

runtime::Task<StatusOr<pb::GetEntryResponse>> CatalogClient::GetEntryTask(pb::GetEntryRequest request,
                                                                          Duration timeout,
                                                                          runtime::StopToken stop) {
  auto start = [this, request = std::move(request), timeout](Done<pb::GetEntryResponse> done) {
    GetEntry(request, timeout, std::move(done));
  };
  return AsTask<pb::GetEntryResponse>(executor_, std::move(stop), std::move(start));
}

runtime::Task<StatusOr<pb::ListResponse>> CatalogClient::ListTask(pb::ListRequest request, Duration timeout,
                                                                  runtime::StopToken stop) {
  auto start = [this, request = std::move(request), timeout](Done<pb::ListResponse> done) {
    List(request, timeout, std::move(done));
  };
  return AsTask<pb::ListResponse>(executor_, std::move(stop), std::move(start));
}

runtime::Task<StatusOr<pb::ChangeResponse>> CatalogClient::CreateDatabaseTask(
    pb::CreateDatabaseRequest request, Duration timeout, runtime::StopToken stop) {
  auto start = [this, request = std::move(request), timeout](Done<pb::ChangeResponse> done) mutable {
    CreateDatabase(std::move(request), timeout, std::move(done));
  };
  return AsTask<pb::ChangeResponse>(executor_, std::move(stop), std::move(start));
}

}  // namespace tenure::client
