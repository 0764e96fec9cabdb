#include "sim/row_clients.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sim/schema_operator.h"
#include "sim/server.h"
#include "store/row_state.h"

namespace tenure::sim {

namespace {

constexpr char kRowHost[] = "rows";
constexpr size_t kClients = 3;
constexpr size_t kRows = 2;  // of each table
constexpr Duration kTimeout = std::chrono::seconds(6);
constexpr char kExists[] = "R1 nothing is answered under a name that does not exist";
constexpr char kGone[] = "R3 a dropped table leaves no rows";
constexpr char kOwn[] = "R4 a value is shown in the column that it was written to";
constexpr char kWhole[] = "R5 a write is shown whole";
constexpr char kByView[] = "R6 nothing is written through a view";

}  // namespace

RowClients::RowClients(World& world, const SchemaTimeline& timeline, Prng prng)
    : world_(world),
      timeline_(timeline),
      prng_(prng),
      clock_(world.scheduler(), Instant(std::chrono::seconds(1000)), WallFromMillis(1'700'000'000'000)),
      process_(world.scheduler(), clock_, kRowHost, prng.Fork("process")),
      executor_(process_.AddExecutor("clients")) {
  world_.network().AddHost(process_, kRowHost);
  network_ = world_.network().MakeView(process_, executor_);
  if (world_.options().tables == 0) return;
  for (size_t i = 0; i < kClients; ++i) {
    clients_.push_back(std::make_unique<Client>());
    clients_.back()->resp =
        std::make_unique<RespClient>(executor_, *network_, world_.NodeAddresses(),
                                     prng_.Fork(fmt::format("resp {}", i)), kTimeout, kTablesDatabase);
  }
}

RowClients::~RowClients() {
  process_.Kill();
}

void RowClients::Start() {
  for (auto& client : clients_) {
    executor_.Post([this, &client = *client] { Pause(client); });
  }
}

void RowClients::Pause(Client& client) {
  const Duration pause(prng_.Between(0, world_.options().think_time.count()));
  client.timer = executor_.After(pause, [this, &client] { Next(client); });
}

void RowClients::Next(Client& client) {
  if (stopped_) return;
  Access access;
  access.lane = prng_.Below(world_.options().tables) + 1;
  access.row = prng_.Below(kRows);
  access.name = TableNameOf(access.lane, prng_.Chance(1, 2));
  access.called = world_.scheduler().now();
  const uint64_t what = prng_.Below(100);
  if (what < 5) return WriteView(client, std::move(access));
  if (what < 50) return ReadRow(client, std::move(access));
  WriteRow(client, std::move(access), what >= 90);
}

void RowClients::ReadRow(Client& client, Access access) {
  access.view = prng_.Chance(1, 5);
  if (access.view) access.name = ViewNameOf(access.lane);
  access.ticket = world_.history().Begin(fmt::format("row {}.{}", access.lane, access.row),
                                         {Operation::Kind::kRead, std::nullopt, access.called, {}, "row"});
  std::vector<std::string> command = {"HGETALL", fmt::format("{}:{}", access.name, access.row)};
  client.resp->Execute(std::move(command),
                       [this, &client, access = std::move(access)](const RespAnswer& answer) {
                         OnRead(access, answer);
                         Pause(client);
                       });
}

void RowClients::WriteRow(Client& client, Access access, bool remove) {
  const std::string key = fmt::format("{}:{}", access.name, access.row);
  std::vector<std::string> command = {"DEL", key};
  std::optional<std::string> value;
  if (!remove) {
    value = access.value = std::to_string(next_value_++);
    command = {"HSET", key, "c1", access.value};
    access.column = DrawColumn(access.lane);
    if (!access.column.empty()) {
      command.push_back(access.column);
      command.push_back(access.value);
    }
    writes_[access.value] = {access.lane, access.row, access.column, access.called, {}, false};
  }
  access.ticket = world_.history().Begin(fmt::format("row {}.{}", access.lane, access.row),
                                         {Operation::Kind::kWrite, value, access.called, {}, "row"});
  client.resp->Execute(std::move(command),
                       [this, &client, access = std::move(access)](const RespAnswer& answer) {
                         OnWritten(access, answer);
                         Pause(client);
                       });
}

void RowClients::WriteView(Client& client, Access access) {
  access.name = ViewNameOf(access.lane);
  std::vector<std::string> command = {"HSET", fmt::format("{}:{}", access.name, access.row), "c1", "0"};
  client.resp->Execute(std::move(command),
                       [this, &client, access = std::move(access)](const RespAnswer& answer) {
                         if (answer.kind == RespAnswer::Kind::kValue) Fail(kByView, access, answer.text);
                         Pause(client);
                       });
}

// One of the newest: it may be on its way in or out. None now and then.
std::string RowClients::DrawColumn(size_t lane) {
  const uint32_t newest = timeline_.NewestColumn(lane);
  const uint64_t back = prng_.Below(6);
  if (newest < 2 || back == 5 || newest < 2 + back) return {};
  return ColumnNameOf(newest - static_cast<uint32_t>(back));
}

std::optional<Instant> RowClients::LatestUse(const Access& access, Instant returned) {
  auto latest = timeline_.LatestUse(access.name, access.called, returned);
  if (latest && !access.column.empty()) {
    const auto column = timeline_.LatestUse(ColumnKeyOf(access.lane, access.column), access.called, returned);
    latest = column ? std::optional(std::min(*latest, *column)) : std::nullopt;
  }
  return latest;
}

void RowClients::OnRead(const Access& access, const RespAnswer& answer) {
  if (answer.kind != RespAnswer::Kind::kValue) {
    refused_ += answer.kind == RespAnswer::Kind::kRefused ? 1 : 0;
    return world_.history().Discard(access.ticket);
  }
  ++answered_;
  const auto latest = LatestUse(access, world_.scheduler().now());
  if (!latest) return Fail(kExists, access, "it is read");
  std::map<std::string, std::string> shown;
  for (size_t i = 0; i + 1 < answer.elements.size(); i += 2)
    shown[answer.elements[i]] = answer.elements[i + 1];
  for (const auto& [column, value] : shown) CheckShown(access, column, value);
  const auto first = shown.find("c1");
  if (first == shown.end()) {
    if (!shown.empty()) Fail(kWhole, access, fmt::format("it has no c1, but {}", shown.begin()->first));
    return world_.history().FinishRead(access.ticket, *latest, std::nullopt);
  }
  world_.history().FinishRead(access.ticket, *latest, first->second);
  const auto write = writes_.find(first->second);
  if (write == writes_.end() || write->second.column.empty() || access.view) return;
  const std::string& column = write->second.column;
  if (timeline_.Stable(ColumnKeyOf(access.lane, column), write->second.called, world_.scheduler().now()) &&
      !shown.contains(column)) {
    Fail(kWhole, access, fmt::format("c1 is {}, and {} is not", first->second, column));
  }
}

void RowClients::CheckShown(const Access& access, const std::string& column, const std::string& value) {
  const auto write = writes_.find(value);
  if (write == writes_.end() || write->second.lane != access.lane || write->second.row != access.row ||
      write->second.refused || (column != "c1" && write->second.column != column)) {
    return Fail(kOwn, access, fmt::format("{} is {}, which nobody wrote there", column, value));
  }
  const auto born =
      timeline_.EarliestBirth(ColumnKeyOf(access.lane, column), access.called, world_.scheduler().now());
  if (!born) return Fail(kExists, access, fmt::format("it has a column {}", column));
  if (write->second.returned && *write->second.returned < *born) {
    Fail(kOwn, access,
         fmt::format("{} is {}, which was written before there was this column", column, value));
  }
}

void RowClients::OnWritten(const Access& access, const RespAnswer& answer) {
  const auto write = writes_.find(access.value);  // none: a row is deleted
  switch (answer.kind) {
    case RespAnswer::Kind::kRefused:
      ++refused_;
      if (write != writes_.end()) write->second.refused = true;
      return world_.history().Discard(access.ticket);
    case RespAnswer::Kind::kUnknown:
      unknown_.push_back(access);
      return;
    case RespAnswer::Kind::kValue:
      break;
  }
  ++answered_;
  if (write != writes_.end()) write->second.returned = world_.scheduler().now();
  const auto latest = LatestUse(access, world_.scheduler().now());
  if (!latest)
    return Fail(kExists, access, fmt::format("{} is written (column '{}')", access.value, access.column));
  world_.history().Finish(access.ticket, *latest);
}

void RowClients::Stop() {
  if (std::exchange(stopped_, true)) return;
  for (const Access& access : unknown_) {
    const auto latest = LatestUse(access, kFarFuture);
    if (!latest) {
      world_.history().Discard(access.ticket);
    } else if (*latest < kFarFuture) {
      world_.history().Limit(access.ticket, *latest);
    }
  }
  for (const SchemaTimeline::Drop& drop : timeline_.drops()) {
    for (size_t row = 0; row < kRows; ++row) {
      const auto ticket =
          world_.history().Begin(fmt::format("row {}.{}", drop.lane, row),
                                 {Operation::Kind::kWrite, std::nullopt, drop.asked, {}, "drop"});
      world_.history().Finish(ticket, drop.made);
    }
  }
}

void RowClients::CheckAtRest() {
  controller::Controller* const serving = world_.ServingController();
  if (serving == nullptr) return world_.Fail(kGone, "nobody serves at rest");
  const catalog::Catalog& catalog = serving->catalog();
  for (const auto& machine : world_.machines()) {
    if (machine->lost || !machine->server || machine->server->node() == nullptr) continue;
    const group::GroupHost& host = machine->server->node()->groups();
    for (const auto& [region, record] : catalog.regions()) {
      const kv::Reader* const state = host.State(GroupId(region));
      if (state == nullptr) continue;
      for (const auto& [table, rows] : store::StoredRows(*state)) {
        if (catalog.tables().contains(table)) continue;
        world_.Fail(kGone, fmt::format("{} has {} rows of table {} in region {}", machine->name, rows, table,
                                       region));
      }
    }
  }
}

void RowClients::Fail(const char* invariant, const Access& access, const std::string& what) {
  world_.Fail(invariant, fmt::format("{}:{}, asked at {:.6f}: {}", access.name, access.row,
                                     static_cast<double>(ToMillis(access.called - Instant())) / 1000, what));
}

}  // namespace tenure::sim
