#include "sim/schema_operator.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "catalog/procedures.h"
#include "catalog/refusal.h"
#include "sim/server.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

constexpr char kSchemaHost[] = "schemas";
constexpr Duration kRepeatChangeAfter = std::chrono::milliseconds(300);
constexpr Duration kTimeout = std::chrono::seconds(3);
constexpr size_t kMaxColumns = 6;

pb::ColumnRecord Column(uint32_t number) {
  pb::ColumnRecord column;
  column.set_name(ColumnNameOf(number));
  column.set_type(pb::COLUMN_INT64);
  column.set_nullable(true);
  return column;
}

}  // namespace

SchemaOperator::SchemaOperator(World& world, SchemaTimeline& timeline, Prng prng)
    : world_(world),
      timeline_(timeline),
      prng_(prng),
      clock_(world.scheduler(), Instant(std::chrono::seconds(1000)), WallFromMillis(1'700'000'000'000)),
      process_(world.scheduler(), clock_, kSchemaHost, prng.Fork("process")),
      executor_(process_.AddExecutor("operator")),
      ids_(prng.Fork("ids")) {
  world_.network().AddHost(process_, kSchemaHost);
  network_ = world_.network().MakeView(process_, executor_);
  controllers_ = std::make_unique<client::ControllerClient>(executor_, *network_, world_.ServerAddresses(),
                                                            prng.Fork("client"));
  for (uint32_t i = 0; i < world_.options().tables; ++i) {
    lanes_.push_back(std::make_unique<Lane>());
    lanes_.back()->number = i + 1;
  }
}

SchemaOperator::~SchemaOperator() {
  process_.Kill();
}

void SchemaOperator::Start() {
  for (auto& lane : lanes_) {
    executor_.Post([this, &lane = *lane] { Pause(lane); });
  }
}

std::string SchemaOperator::Unfinished() const {
  for (const auto& lane : lanes_) {
    if (lane->busy)
      return fmt::format("the operator to be done with {} (procedure {})", lane->method, lane->procedure);
  }
  return {};
}

std::string SchemaOperator::NameOf(const Lane& lane, bool renamed) const {
  return TableNameOf(lane.number, renamed);
}

void SchemaOperator::Pause(Lane& lane) {
  const Duration pause = std::chrono::milliseconds(prng_.Between(0, prng_.Chance(1, 3) ? 3000 : 300));
  lane.timer = executor_.After(pause, [this, &lane] { Decide(lane); });
}

template <class Request>
void SchemaOperator::Begin(Lane& lane, const char* method, Request request, Model wished) {
  lane.busy = true;
  lane.id = ids_.Next();
  *request.mutable_id() = lane.id;
  request.set_database(kTablesDatabase);
  lane.method = method;
  lane.request = request.SerializeAsString();
  lane.sent = std::make_shared<bool>(false);
  Foretell(lane, wished);
  lane.wished = std::move(wished);
  lane.procedure = 0;
  lane.cancel = prng_.Chance(1, 8);
  Send(lane);
}

void SchemaOperator::CreateTable(Lane& lane) {
  Model wished{.exists = true, .renamed = prng_.Chance(1, 2)};
  pb::CreateTableRequest request;
  request.set_name(NameOf(lane, wished.renamed));
  for (int64_t left = prng_.Between(1, 3); left > 0; --left) {
    wished.columns.push_back(wished.columns.empty() ? 1 : NewColumn(lane, wished));
    *request.add_columns() = Column(wished.columns.back());
  }
  Begin(lane, "CreateTable", std::move(request), wished);
}

// Another one mostly; now and then one whose name was in use before.
uint32_t SchemaOperator::NewColumn(Lane& lane, const Model& model) {
  const uint32_t old =
      lane.newest_column > 1 ? static_cast<uint32_t>(prng_.Between(2, lane.newest_column)) : 0;
  if (old != 0 && !model.Has(old) && prng_.Chance(1, 3)) return old;
  timeline_.SetNewestColumn(lane.number, ++lane.newest_column);
  return lane.newest_column;
}

void SchemaOperator::AlterTable(Lane& lane) {
  Model wished = lane.now;
  pb::AlterTableRequest request;
  request.set_name(NameOf(lane, lane.now.renamed));
  if (lane.now.columns.size() > 1 && (lane.now.columns.size() == kMaxColumns || prng_.Chance(1, 2))) {
    const auto dropped =
        wished.columns.begin() + prng_.Between(1, static_cast<int64_t>(wished.columns.size()) - 1);
    request.mutable_alteration()->add_drop_columns(ColumnNameOf(*dropped));
    wished.columns.erase(dropped);
  } else {
    wished.columns.push_back(NewColumn(lane, wished));
    *request.mutable_alteration()->add_add_columns() = Column(wished.columns.back());
  }
  Begin(lane, "AlterTable", std::move(request), wished);
}

// What the timeline says of a table: its name and view by themselves, its columns below the lane.
std::vector<std::string> SchemaOperator::NamesIn(const Lane& lane, const Model& model) const {
  std::vector<std::string> names;
  if (!model.exists) return names;
  names.push_back(NameOf(lane, model.renamed));
  if (model.view) names.push_back(ViewNameOf(lane.number));
  for (const uint32_t column : model.columns) names.push_back(ColumnKeyOf(lane.number, ColumnNameOf(column)));
  return names;
}

void SchemaOperator::Foretell(Lane& lane, const Model& wished) {
  lane.asked = world_.scheduler().now();
  const std::vector<std::string> before = NamesIn(lane, lane.now);
  const std::vector<std::string> after = NamesIn(lane, wished);
  for (const std::string& name : after) {
    if (std::ranges::count(before, name) == 0) timeline_.Begin(name, world_.scheduler().now());
  }
  for (const std::string& name : before) {
    if (std::ranges::count(after, name) == 0) timeline_.Doom(name, world_.scheduler().now());
  }
}

void SchemaOperator::Record(const Lane& lane, bool made) {
  const std::vector<std::string> before = NamesIn(lane, lane.now);
  const std::vector<std::string> after = NamesIn(lane, lane.wished);
  for (const std::string& name : before) {
    if (std::ranges::count(after, name) > 0) continue;
    if (made) {
      timeline_.End(name, world_.scheduler().now());
    } else {
      timeline_.Spare(name);
    }
  }
  for (const std::string& name : after) {
    if (made && std::ranges::count(before, name) == 0) timeline_.Settle(name, world_.scheduler().now());
  }
  // With a table goes what was begun and rolled back: of that somebody may have known until now.
  if (!made || lane.wished.exists) return;
  for (uint32_t column = 1; column <= lane.newest_column; ++column)
    timeline_.End(ColumnKeyOf(lane.number, ColumnNameOf(column)), world_.scheduler().now());
  for (const std::string& name : {NameOf(lane, false), NameOf(lane, true), ViewNameOf(lane.number)})
    timeline_.End(name, world_.scheduler().now());
  timeline_.AddDrop({lane.number, lane.asked, world_.scheduler().now()});
}

void SchemaOperator::Decide(Lane& lane) {
  if (finishing_) return;
  Model wished = lane.now;
  if (!lane.now.exists) return CreateTable(lane);
  switch (prng_.Below(5)) {
    case 0: {
      pb::RenameTableRequest request;
      request.set_name(NameOf(lane, lane.now.renamed));
      request.set_to(NameOf(lane, !lane.now.renamed));
      wished.renamed = !wished.renamed;
      return Begin(lane, "RenameTable", std::move(request), wished);
    }
    case 1: {
      const std::string name = ViewNameOf(lane.number);
      wished.view = !lane.now.view;
      if (lane.now.view) {
        pb::DropViewRequest request;
        request.set_name(name);
        return Begin(lane, "DropView", std::move(request), wished);
      }
      pb::CreateViewRequest request;
      request.set_name(name);
      request.set_table(NameOf(lane, lane.now.renamed));
      request.add_columns()->set_column("c1");
      return Begin(lane, "CreateView", std::move(request), wished);
    }
    case 2:
      if (lane.now.view) return AlterTable(lane);
      {
        pb::DropTableRequest request;
        request.set_name(NameOf(lane, lane.now.renamed));
        return Begin(lane, "DropTable", std::move(request), Model());
      }
    default:
      return AlterTable(lane);
  }
}

void SchemaOperator::Send(Lane& lane) {
  client::CallOptions options;
  options.timeout = kTimeout;
  options.changes = true;
  options.maybe_executed = lane.sent;
  controllers_->Call(
      "tenure.v1.Tables/" + lane.method, lane.request, options,
      [this, &lane](const StatusOr<std::string>& bytes) {
        pb::SchemaChangeResponse answer;
        if (bytes.ok() && answer.ParseFromString(*bytes) && answer.has_procedure()) {
          lane.procedure = answer.procedure().procedure().id();
          world_.Note(fmt::format("schema: {} is procedure {}", answer.procedure().procedure().description(),
                                  lane.procedure));
          if (lane.cancel) return Cancel(lane);
          return Follow(lane);
        }
        switch (catalog::ReasonOf(bytes.status())) {
          case pb::REASON_ALREADY_EXISTS:
          case pb::REASON_NOT_FOUND:
          case pb::REASON_INVALID_ARGUMENT:
          case pb::REASON_DUPLICATE_EXPIRED:
          case pb::REASON_CONDITION_FAILED:
            return world_.Fail(
                "S1 a table is as its procedures said",
                fmt::format("{}: {}: {}", Describe(lane), lane.method, MessageOf(bytes.status())));
          default:
            lane.timer = executor_.After(kRepeatChangeAfter, [this, &lane] { Send(lane); });
        }
      });
}

void SchemaOperator::Cancel(Lane& lane) {
  pb::CancelProcedureRequest request;
  request.set_procedure(lane.procedure);
  client::CallOptions options;
  options.timeout = kTimeout;
  // Whether it came in time is seen in the end; a wish that was lost is none.
  controllers_->Call<pb::ChangeResponse>(
      "tenure.v1.Procedures/Cancel", request, options,
      [this, &lane](const StatusOr<pb::ChangeResponse>&) { Follow(lane); });
}

void SchemaOperator::Follow(Lane& lane) {
  pb::GetProcedureRequest request;
  request.set_id(lane.procedure);
  client::CallOptions options;
  options.timeout = kTimeout;
  controllers_->Call<pb::GetProcedureResponse>(
      "tenure.v1.Procedures/Get", request, options,
      [this, &lane](const StatusOr<pb::GetProcedureResponse>& answer) {
        if (!answer.ok() || !catalog::IsEnded(answer->procedure().record().procedure().state())) {
          lane.timer = executor_.After(kRepeatChangeAfter, [this, &lane] { Follow(lane); });
          return;
        }
        End(lane, answer->procedure().record().procedure().state() == pb::PROCEDURE_SUCCEEDED);
      });
}

void SchemaOperator::End(Lane& lane, bool made) {
  ++(made ? made_ : undone_);
  Record(lane, made);
  if (made) lane.now = lane.wished;
  world_.Note(
      fmt::format("schema: procedure {} {}: {}", lane.procedure, made ? "made" : "undone", Describe(lane)));
  ids_.Done(lane.id);
  lane.busy = false;
  Pause(lane);
}

std::string SchemaOperator::Describe(const Lane& lane) const {
  if (!lane.now.exists) return fmt::format("lane {}: no table", lane.number);
  return fmt::format("lane {}: {} with {} columns{}", lane.number, NameOf(lane, lane.now.renamed),
                     lane.now.columns.size(), lane.now.view ? " and a view" : "");
}

void SchemaOperator::Check() {
  controller::Controller* const serving = world_.ServingController();
  if (serving == nullptr) return world_.Fail("S1 a table is as its procedures said", "nobody serves at rest");
  const catalog::Catalog& catalog = serving->catalog();
  const pb::Record* database = catalog.FindDatabase(kTablesDatabase);
  if (database == nullptr) return;  // a run that was recovered without it
  const uint64_t id = database->database().id();
  for (const auto& lane : lanes_) {
    Model found;
    for (const bool renamed : {false, true}) {
      const pb::Record* record = catalog.FindTableOrView(id, NameOf(*lane, renamed));
      if (record == nullptr) continue;
      const pb::TableRecord& table = record->table();
      if (found.exists || table.state() != pb::TABLE_PUBLIC)
        return world_.Fail("S1 a table is as its procedures said",
                           fmt::format("{}: it is {} at rest", Describe(*lane), table.ShortDebugString()));
      found = {.exists = true, .renamed = renamed};
      for (const pb::ColumnRecord& column : table.shape().columns())
        found.columns.push_back(static_cast<uint32_t>(std::stoul(column.name().substr(1))));
    }
    found.view = catalog.FindTableOrView(id, ViewNameOf(lane->number)) != nullptr;
    if (found == lane->now) continue;
    world_.Fail("S1 a table is as its procedures said",
                fmt::format("{}; the catalog: exists {} renamed {} columns {} view {}", Describe(*lane),
                            found.exists, found.renamed, fmt::join(found.columns, " "), found.view));
  }
}

}  // namespace tenure::sim
