#include "sim/schema_stories.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <string>
#include <utility>

#include "catalog/fencing.h"
#include "catalog/state_moves.h"
#include "controller/procedure/types/schema_change.h"
#include "sim/server.h"
#include "tenure/v1/tables.pb.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;
using controller::SchemaChange;

namespace {

constexpr const char* kStoryDatabase = "default";

enum Kind {
  kCreateTable,
  kAlterTable,
  kRenameTable,
  kDropTable,
  kCreateView,
  kAlterView,
  kRenameView,
  kDropView
};
constexpr std::array kMethods = {SchemaChange::kCreateTable, SchemaChange::kAlterTable,
                                 SchemaChange::kRenameTable, SchemaChange::kDropTable,
                                 SchemaChange::kCreateView,  SchemaChange::kAlterView,
                                 SchemaChange::kRenameView,  SchemaChange::kDropView};
constexpr std::array kKindNames = {"create-table", "alter-table", "rename-table", "drop-table",
                                   "create-view",  "alter-view",  "rename-view",  "drop-view"};

// What is wrong with the last machine, which is a node only.
enum Fault {
  kNone,
  kDeadForLong,
  kDying,   // just before the change is asked for
  kMute,    // nobody hears it
  kDeaf,    // it hears nobody
  kPaused,  // for longer than its lease
  kSlow,    // its messages take half a second
  kAside,   // it leads the region, and reaches the other nodes but no controller
};
constexpr std::array kFaultNames = {"", "dead", "dying", "mute", "deaf", "paused", "slow", "aside"};
constexpr std::array kFaultTitles = {"all alive",   "dead for long", "dying", "not heard",
                                     "not hearing", "paused",        "slow",  "reaches no controller"};

std::string NameOf(size_t kind, size_t fault) {
  return fmt::format("{}{}{}", kKindNames[kind], fault == kNone ? "" : "-", kFaultNames[fault]);
}

// How long the barrier may take. Nobody is waited for who confirms or is known to be fenced; a node that was
// just lost is fenced in T_proceed; one that hears nothing is heard, and given up when the budget is spent.
Duration AnnouncedWithin(Fault fault) {
  const catalog::Fencing standard = catalog::FencingOf(nullptr);
  const Duration proceed = *catalog::ProceedAfter(standard);
  switch (fault) {
    case kNone:
    case kDeadForLong:
      return std::chrono::milliseconds(100);
    case kSlow:
      return std::chrono::seconds(3);
    case kDying:
    case kMute:
    case kPaused:
    case kAside:
      return proceed + std::chrono::milliseconds(500);
    case kDeaf:
      return proceed + std::chrono::milliseconds(5500);
  }
  return Duration();
}

size_t Last(Stage& stage) {
  return stage.world().machines().size() - 1;
}

void CutOff(Stage& stage, bool mute) {
  World& world = stage.world();
  const runtime::Endpoint& last = world.machines()[Last(stage)]->address;
  for (size_t i = 0; i < Last(stage); ++i) {
    const runtime::Endpoint& other = world.machines()[i]->address;
    if (mute) {
      world.network().Block(last, other);
    } else {
      world.network().Block(other, last);
    }
  }
}

// From the machines with controllers, both ways.
void CutFromControllers(Stage& stage) {
  World& world = stage.world();
  const runtime::Endpoint& last = world.machines()[Last(stage)]->address;
  for (const auto& machine : world.machines()) {
    if (machine->controller_id == 0) continue;
    world.network().Block(last, machine->address);
    world.network().Block(machine->address, last);
  }
}

// The last machine leads the region, and the one before it, which is a node only too, has a replica.
bool LeadOnLastMachine(Stage& stage) {
  const size_t other = Last(stage) - 1;
  if (!HoldOnLastMachine(stage)) return false;
  if (!stage.Holds(other)) {
    size_t from = 0;
    while (from < other && !stage.Holds(from)) ++from;
    if (!MoveReplica(stage, from, other)) return false;
  }
  const auto led = [&stage] {
    return stage.Leader() == Last(stage) && stage.Holds(Last(stage) - 1)
               ? std::string()
               : std::string("the last machine to lead the region");
  };
  if (!stage.Until([&] { return stage.Holds(other) ? std::string() : std::string("the replica"); }))
    return false;
  if (led().empty()) return true;
  pb::TransferRegionRequest request;
  request.set_region(1);
  request.set_to_node(stage.NodeOf(Last(stage)));
  return stage.AskUntilDone("tenure.v1.Regions/TransferLeader", request.SerializeAsString()) &&
         stage.Until(led);
}

void SlowDown(Stage& stage, Duration latency) {
  World& world = stage.world();
  const runtime::Endpoint& last = world.machines()[Last(stage)]->address;
  for (size_t i = 0; i < Last(stage); ++i) {
    const runtime::Endpoint& other = world.machines()[i]->address;
    for (const auto& [from, to] : {std::pair(last, other), std::pair(other, last)}) {
      SimLinkOptions options = world.network().OptionsOf(from, to);
      options.max_delay += latency;
      options.min_delay += latency;
      world.network().SetLink(from, to, options);
    }
  }
}

void Begin(Stage& stage, Fault fault) {
  switch (fault) {
    case kNone:
    case kDeadForLong:
      return;
    case kDying:
      return stage.TakeAway(Last(stage));
    case kMute:
    case kDeaf:
      return CutOff(stage, fault == kMute);
    case kPaused:
      return stage.world().Pause(Last(stage));
    case kSlow:
      return SlowDown(stage, std::chrono::milliseconds(500));
    case kAside:
      return CutFromControllers(stage);
  }
}

void End(Stage& stage, Fault fault) {
  World& world = stage.world();
  if (fault == kMute || fault == kDeaf || fault == kAside) world.network().HealAll();
  if (fault == kPaused) world.Resume(Last(stage));
  if (fault == kSlow) SlowDown(stage, -std::chrono::milliseconds(500));
  if (stage.IsAway(Last(stage))) stage.BringBack(Last(stage), Duration(0));
}

// ---- what is asked for ----

template <class Request>
Request Named(const char* name) {
  Request request;
  request.set_database(kStoryDatabase);
  request.set_name(name);
  return request;
}

pb::CreateTableRequest NewTable(const char* name) {
  auto request = Named<pb::CreateTableRequest>(name);
  for (const char* column : {"a", "b"}) {
    pb::ColumnRecord& added = *request.add_columns();
    added.set_name(column);
    added.set_type(pb::COLUMN_INT64);
    added.set_nullable(true);
  }
  return request;
}

pb::CreateViewRequest NewView(const char* name) {
  auto request = Named<pb::CreateViewRequest>(name);
  request.set_table("t");
  request.add_columns()->set_column("a");
  return request;
}

template <class Request>
bool Ask(Stage& stage, Kind kind, Request request) {
  return stage.Ask(fmt::format("tenure.v1.Tables/{}", kMethods[kind]), std::move(request));
}

bool AskFor(Stage& stage, Kind kind) {
  switch (kind) {
    case kCreateTable:
      return Ask(stage, kind, NewTable("new"));
    case kAlterTable: {
      auto request = Named<pb::AlterTableRequest>("t");
      request.mutable_alteration()->add_drop_columns("b");
      return Ask(stage, kind, std::move(request));
    }
    case kRenameTable: {
      auto request = Named<pb::RenameTableRequest>("t");
      request.set_to("u");
      return Ask(stage, kind, std::move(request));
    }
    case kDropTable:
      return Ask(stage, kind, Named<pb::DropTableRequest>("t"));
    case kCreateView:
      return Ask(stage, kind, NewView("new"));
    case kAlterView: {
      auto request = Named<pb::AlterViewRequest>("v");
      request.add_columns()->set_column("b");
      return Ask(stage, kind, std::move(request));
    }
    case kRenameView: {
      auto request = Named<pb::RenameViewRequest>("v");
      request.set_to("w");
      return Ask(stage, kind, std::move(request));
    }
    case kDropView:
      return Ask(stage, kind, Named<pb::DropViewRequest>("v"));
  }
  return false;
}

// Tables and views as the serving controller has them: "t PUBLIC v1 2 columns; v PUBLIC v1 1 columns".
std::string SchemaText(Stage& stage) {
  controller::Controller* const serving = stage.world().ServingController();
  if (serving == nullptr) return "nobody serves";
  std::string text;
  const auto add = [&text](const auto& object) {
    text += fmt::format("{}{} {} {} columns", text.empty() ? "" : "; ", object.shape().name(),
                        catalog::NameOf(object.state()), object.shape().columns_size());
  };
  for (const auto& [id, record] : serving->catalog().tables()) add(record.table());
  for (const auto& [id, record] : serving->catalog().views()) add(record.view());
  return text;
}

constexpr const char* kTable = "t PUBLIC 2 columns";
constexpr const char* kBoth = "t PUBLIC 2 columns; v PUBLIC 1 columns";

std::string Before(Kind kind) {
  if (kind == kCreateTable) return "";
  return kind == kAlterView || kind == kRenameView || kind == kDropView ? kBoth : kTable;
}
std::string After(Kind kind) {
  switch (kind) {
    case kCreateTable:
      return "new PUBLIC 2 columns";
    case kAlterTable:
      return "t PUBLIC 1 columns";
    case kRenameTable:
      return "u PUBLIC 2 columns";
    case kDropTable:
      return "";
    case kCreateView:
      return "t PUBLIC 2 columns; new PUBLIC 1 columns";
    case kAlterView:
      return kBoth;
    case kRenameView:
      return "t PUBLIC 2 columns; w PUBLIC 1 columns";
    case kDropView:
      return kTable;
  }
  return "";
}

bool UntilSchemaIs(Stage& stage, const std::string& wanted, const std::string& or_this) {
  return stage.Until([&] {
    const std::string now = SchemaText(stage);
    return now == wanted || now == or_this ? std::string()
                                           : fmt::format("the schema '{}', it is '{}'", wanted, now);
  });
}

template <Kind kKind, Fault kFault>
struct Plot {
  static bool Prepare(Stage& stage) {
    if (kKind != kCreateTable &&
        !(Ask(stage, kCreateTable, NewTable("t")) && UntilSchemaIs(stage, kTable, kTable)))
      return false;
    if (Before(kKind) == kBoth &&
        !(Ask(stage, kCreateView, NewView("v")) && UntilSchemaIs(stage, kBoth, kBoth)))
      return false;
    if (kFault == kAside) return LeadOnLastMachine(stage);
    if (kFault != kDeadForLong) return true;
    stage.TakeAway(Last(stage));
    return stage.Until([&stage] {
      return stage.world().NodeStateOf(Last(stage)) == pb::NODE_DOWN ? std::string()
                                                                     : std::string("node down");
    });
  }
  static bool Act(Stage& stage) {
    Begin(stage, kFault);
    return AskFor(stage, kKind);
  }
  // All of it or nothing of it, and nothing in between.
  static bool Tidy(Stage& stage) {
    End(stage, kFault);
    return UntilSchemaIs(stage, After(kKind), Before(kKind));
  }
};

template <Kind kKind, Fault kFault>
void Add(std::vector<Story>& stories) {
  static const std::string name = NameOf(kKind, kFault);
  Story& story = stories.emplace_back(Story{
      .name = name, .type = kMethods[kKind], .ends = {pb::PROCEDURE_SUCCEEDED, pb::PROCEDURE_ROLLED_BACK}});
  // Every node is alive, or proven to be fenced in time: only a node that is heard and does not hear holds
  // up.
  if (kFault != kDeaf && kFault != kSlow) story.ends = {pb::PROCEDURE_SUCCEEDED};
  if (kFault == kDeadForLong)
    story.shape = [](SimOptions& options) {
      options.down_after = AnnouncedWithin(kDying);
    };  // T_proceed is over
  story.announced_within = AnnouncedWithin(kFault);
  // It has handed the region over by the time at which the barrier passes, and what goes through the region's
  // log is done at once.
  if (kFault == kAside) story.made_within = AnnouncedWithin(kFault) + std::chrono::seconds(1);
  story.prepare = Plot<kKind, kFault>::Prepare;
  story.act = Plot<kKind, kFault>::Act;
  story.tidy = Plot<kKind, kFault>::Tidy;
}

template <Kind kKind>
void AddKind(std::vector<Story>& stories) {
  Add<kKind, kNone>(stories);
  Add<kKind, kDeadForLong>(stories);
  Add<kKind, kDying>(stories);
  Add<kKind, kMute>(stories);
  Add<kKind, kDeaf>(stories);
  Add<kKind, kPaused>(stories);
  Add<kKind, kSlow>(stories);
  Add<kKind, kAside>(stories);
}

}  // namespace

void AddSchemaStories(std::vector<Story>& stories) {
  AddKind<kCreateTable>(stories);
  AddKind<kAlterTable>(stories);
  AddKind<kRenameTable>(stories);
  AddKind<kDropTable>(stories);
  AddKind<kCreateView>(stories);
  AddKind<kAlterView>(stories);
  AddKind<kRenameView>(stories);
  AddKind<kDropView>(stories);
}

std::string TableOf(const SchemaOutcomes& outcomes) {
  std::string table = "| |";
  for (const char* title : kFaultTitles) table += fmt::format(" {} |", title);
  table += "\n|---|";
  for (size_t fault = 0; fault < kFaultNames.size(); ++fault) table += "---|";
  for (size_t kind = 0; kind < kKindNames.size(); ++kind) {
    std::string title = kKindNames[kind];
    std::replace(title.begin(), title.end(), '-', ' ');
    table += fmt::format("\n| {} |", title);
    for (size_t fault = 0; fault < kFaultNames.size(); ++fault) {
      const auto found = outcomes.find(NameOf(kind, fault));
      if (found == outcomes.end()) {
        table += " |";
        continue;
      }
      const SchemaOutcome& outcome = found->second;
      table += fmt::format(" {}{}, {:.1f} s |", outcome.succeeded,
                           outcome.rolled_back == 0 ? "" : fmt::format(" ({})", outcome.rolled_back),
                           static_cast<double>(ToMillis(outcome.announced)) / 1000);
    }
  }
  return table + "\n";
}

}  // namespace tenure::sim
