#include "cli/queries.h"

namespace tenure::cli {

StatusOr<std::vector<pb::Record>> ListRecords(Session& session, pb::RecordKind kind, Duration timeout) {
  std::vector<pb::Record> records;
  pb::ListRequest request;
  request.set_kind(kind);
  do {
    TENURE_ASSIGN_OR_RETURN(const auto page,
                            session.Call<pb::ListResponse>("tenure.v1.Catalog/List", request, timeout));
    records.insert(records.end(), page.records().begin(), page.records().end());
    request.set_after(page.next_after());
  } while (!request.after().empty());
  return records;
}

StatusOr<pb::GetDatabaseResponse> GetDatabase(Session& session, const std::string& name, Duration timeout) {
  pb::GetDatabaseRequest request;
  request.set_name(name);
  return session.Call<pb::GetDatabaseResponse>("tenure.v1.Catalog/GetDatabase", request, timeout);
}

StatusOr<pb::ListRegionsResponse> ListRegions(Session& session, const std::string& database,
                                              Duration timeout) {
  pb::ListRegionsRequest request;
  request.set_database(database);
  return session.Call<pb::ListRegionsResponse>("tenure.v1.Regions/List", request, timeout);
}

StatusOr<uint64_t> FindNode(Session& session, const std::string& wanted, Duration timeout) {
  TENURE_ASSIGN_OR_RETURN(const auto records, ListRecords(session, pb::RECORD_NODE, timeout));
  const auto found = FindByIdOrName(
      records, wanted, [](const pb::Record& record) { return IdText(record.node().id()); },
      [](const pb::Record& record) { return record.node().name(); });
  if (found != records.end()) return found->node().id();
  return Error(StatusCode::kNotFound, "node {} does not exist; `tenure node list` shows them", wanted);
}

}  // namespace tenure::cli
