#include "controller/api/catalog_service.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/codec.h"
#include "catalog/refusal.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using catalog::Refuse;
using runtime::CallInfo;
using runtime::Reply;

namespace {

constexpr uint32_t kDefaultLimit = 1000;
constexpr uint32_t kMaxLimit = 10000;
constexpr size_t kMaxPageBytes = size_t{16} << 20;  // of records that are not entries, about

// The memory-resident records of a kind; null for entries and unknown kinds.
const std::map<uint64_t, pb::Record>* RecordsOf(pb::RecordKind kind, const catalog::Catalog& catalog) {
  switch (kind) {
    case pb::RECORD_CONTROLLER:
      return &catalog.controllers();
    case pb::RECORD_NODE:
      return &catalog.nodes();
    case pb::RECORD_DATABASE:
      return &catalog.databases();
    case pb::RECORD_REGION:
      return &catalog.regions();
    case pb::RECORD_PROCEDURE:
      return &catalog.procedures();
    case pb::RECORD_TABLE:
      return &catalog.tables();
    case pb::RECORD_VIEW:
      return &catalog.views();
    case pb::RECORD_CHANGEFEED:
      return &catalog.changefeeds();
    default:
      return nullptr;
  }
}

// All records of the kinds, in their order; INVALID_ARGUMENT for entries, which may be too many for one
// answer.
StatusOr<pb::ListResponse> ListKinds(const pb::ListRequest& request, const CatalogView& view) {
  pb::ListResponse response;
  size_t bytes = 0;
  std::set<int> seen;
  for (const int number : request.kinds()) {
    const auto kind = static_cast<pb::RecordKind>(number);
    if (!seen.insert(number).second) {
      return Refuse(pb::REASON_INVALID_ARGUMENT, "kinds: {} is named more than once",
                    pb::RecordKind_Name(kind));
    }
    if (kind == pb::RECORD_CLUSTER) {
      if (const pb::Record* cluster = view.catalog.cluster_record()) *response.add_records() = *cluster;
      continue;
    }
    const auto* records = RecordsOf(kind, view.catalog);
    if (records == nullptr) {
      return Refuse(pb::REASON_INVALID_ARGUMENT, "kinds: {} cannot be listed with others",
                    pb::RecordKind_Name(kind));
    }
    for (const auto& [id, record] : *records) {
      bytes += record.ByteSizeLong();
      if (bytes > runtime::kMaxMessageBytes) {
        return Refuse(pb::REASON_INVALID_ARGUMENT,
                      "kinds: the records are more than the {} MiB that fit into one answer: list each kind "
                      "by itself, which is paged",
                      runtime::kMaxMessageBytes >> 20);
      }
      *response.add_records() = record;
    }
  }
  return response;
}

StatusOr<pb::ListResponse> ListOneKind(const pb::ListRequest& request, const CatalogView& view) {
  const uint32_t limit = request.limit() == 0 ? kDefaultLimit : std::min(request.limit(), kMaxLimit);
  pb::ListResponse response;
  if (request.kind() == pb::RECORD_ENTRY) {
    auto page = catalog::Catalog::ListEntries(request.prefix(), request.after(), limit, request.keys_only(),
                                              view.entries);
    for (pb::Record& record : page.records) *response.add_records() = std::move(record);
    response.set_next_after(std::move(page.next_after));
    return response;
  }
  if (request.kind() == pb::RECORD_CLUSTER) {
    if (const pb::Record* cluster = view.catalog.cluster_record()) *response.add_records() = *cluster;
    return response;
  }
  const auto* records = RecordsOf(request.kind(), view.catalog);
  if (records == nullptr) {
    return Refuse(pb::REASON_INVALID_ARGUMENT, "kind: {} is no kind of record",
                  static_cast<int>(request.kind()));
  }
  if (!request.after().empty() && request.after().size() != 8) {
    return Refuse(pb::REASON_INVALID_ARGUMENT, "after: is not the next_after of a page of this kind");
  }
  auto next = request.after().empty() ? records->begin()
                                      : records->upper_bound(GetBigEndian64(request.after().data()));
  size_t bytes = 0;
  for (; next != records->end(); ++next) {
    bytes += next->second.ByteSizeLong();
    const bool full = bytes > kMaxPageBytes && !response.records().empty();
    if (full || static_cast<uint32_t>(response.records_size()) == limit) {
      PutBigEndian64(*response.mutable_next_after(), std::prev(next)->first);
      break;
    }
    *response.add_records() = next->second;
  }
  return response;
}

}  // namespace

StatusOr<pb::ListResponse> ListRecords(const pb::ListRequest& request, const CatalogView& view) {
  auto response = request.kinds().empty() ? ListOneKind(request, view) : ListKinds(request, view);
  if (response.ok()) {
    response->set_revision(view.revision.value());
    response->set_age_ms(view.age_ms);
  }
  return response;
}

CatalogService::CatalogService(runtime::Executor& executor, CatalogAccess& access,
                               const Leadership& leadership, WatchHub& watches, DatabaseApi& databases,
                               ChangeStreamOptions stream_options)
    : executor_(executor),
      access_(access),
      leadership_(leadership),
      watches_(watches),
      stream_options_(stream_options) {
  calls_["GetEntry"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::GetEntryRequest, pb::GetEntryResponse>(
        bytes, std::move(reply),
        [this](auto request, auto done) { GetEntry(std::move(request), std::move(done)); });
  };
  calls_["PutEntry"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::PutEntryRequest, pb::ChangeResponse>(bytes, std::move(reply), [this](auto request, auto done) {
      Change(CommandOf(request), std::move(done));
    });
  };
  calls_["DeleteEntry"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::DeleteEntryRequest, pb::ChangeResponse>(
        bytes, std::move(reply),
        [this](auto request, auto done) { Change(CommandOf(request), std::move(done)); });
  };
  calls_["List"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::ListRequest, pb::ListResponse>(bytes, std::move(reply), [this](auto request, auto done) {
      List(std::move(request), std::move(done));
    });
  };
  calls_["CreateDatabase"] = [&databases](const CallInfo& info, std::string bytes, Reply reply) {
    Serve<pb::CreateDatabaseRequest, pb::ChangeResponse>(
        bytes, std::move(reply), [&databases, deadline = info.deadline](auto request, auto done) {
          databases.Create(deadline, std::move(request), std::move(done));
        });
  };
  calls_["DropDatabase"] = [&databases](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::DropDatabaseRequest, pb::ChangeResponse>(
        bytes, std::move(reply),
        [&databases](auto request, auto done) { databases.Drop(std::move(request), std::move(done)); });
  };
  calls_["GetDatabase"] = [&databases](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::GetDatabaseRequest, pb::GetDatabaseResponse>(
        bytes, std::move(reply),
        [&databases](auto request, auto done) { databases.Get(request, std::move(done)); });
  };
}

bool CatalogService::IsStream(std::string_view method) const {
  return method == "Watch" || method == "Stream";
}

void CatalogService::OnCall(const CallInfo& info, std::string request, Reply reply) {
  Route(calls_, info, std::move(request), std::move(reply));
}

std::unique_ptr<runtime::StreamHandler> CatalogService::OnStream(const CallInfo& info,
                                                                 std::unique_ptr<runtime::Stream> stream) {
  if (info.method == "Watch") return watches_.Accept(std::move(stream));
  if (info.method == "Stream") {
    return std::make_unique<ChangeStream>(executor_, access_, leadership_, stream_options_,
                                          std::move(stream));
  }
  return nullptr;
}

void CatalogService::GetEntry(pb::GetEntryRequest request, Answer<pb::GetEntryResponse> done) {
  if (const Status valid = CheckReadKey(request.key(), access_.limits()); !valid.ok()) return done(valid);
  const pb::ReadOptions read = request.read();
  access_.Read(read, [key = std::move(*request.mutable_key()), done = std::move(done)](auto view) mutable {
    if (!view.ok()) return done(view.status());
    done(ReadEntry(key, *view));
  });
}

void CatalogService::Change(ipb::CatalogCommand command, Answer<pb::ChangeResponse> done) {
  if (const Status serving = leadership_.CheckServing(); !serving.ok()) return done(serving);
  access_.Propose(std::move(command), [done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
    if (!result.ok()) return done(result.status());
    done(ResponseOf(*result));
  });
}

void CatalogService::List(pb::ListRequest request, Answer<pb::ListResponse> done) {
  const pb::ReadOptions read = request.read();
  access_.Read(read, [request = std::move(request), done = std::move(done)](auto view) mutable {
    if (!view.ok()) return done(view.status());
    done(ListRecords(request, *view));
  });
}

}  // namespace tenure::controller
