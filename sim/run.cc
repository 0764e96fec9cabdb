#include "sim/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/format.h"
#include "sim/barrier_operator.h"
#include "sim/database_operator.h"
#include "sim/feed_mail.h"
#include "sim/feed_operator.h"
#include "sim/leadership_storms.h"
#include "sim/membership_operator.h"
#include "sim/nemesis.h"
#include "sim/phases.h"
#include "sim/placement_operator.h"
#include "sim/power_losses.h"
#include "sim/recovery_scenario.h"
#include "sim/row_clients.h"
#include "sim/schema_operator.h"
#include "sim/schema_timeline.h"
#include "sim/server.h"
#include "sim/slot_operator.h"
#include "sim/strangers.h"
#include "sim/world.h"

namespace tenure::sim {
namespace {

// After the last fault connections come back by and by; until then the others may be no majority.
constexpr Duration kReconnectTime = std::chrono::seconds(6);
constexpr Duration kWriteLimit = std::chrono::seconds(60);
// From the first write that hangs: noticed in three quarters of an election timeout; then, at worst, an
// election without help and the end of a lease.
constexpr Duration kHungDiskLimit = std::chrono::milliseconds(3200);
constexpr Duration kStrangersLimit = std::chrono::seconds(10);
// An election, a leader's start and a change of the catalog, over bad links; missing the node would take 30
// s.
constexpr Duration kFarewellLimit = std::chrono::seconds(12);
// A round over links that are slow, and a heartbeat under a leader that is new; silence would take longer.
constexpr Duration kBarrierLimit = std::chrono::milliseconds(2500);
constexpr Duration kSleepLimit = std::chrono::seconds(15);
constexpr Duration kSleepTime = std::chrono::seconds(5);
constexpr int kSleepWindows = 8;
// Silence is noticed after an election timeout; the first choice stands at once, the second one timeout
// later.
constexpr Duration kSleepersLimit = std::chrono::seconds(6);

class Run : private Phases {
 public:
  Run(const SimOptions& options, LogSink* trace, Scheduler::Trace on_event)
      : Phases(options, trace, std::move(on_event)),
        nemesis_(world_, PlanOf(options)),
        membership_(world_, Prng(options.seed).Fork("membership")),
        placement_(world_, Prng(options.seed).Fork("placement operator")),
        databases_(world_, Prng(options.seed).Fork("database operator")),
        storms_(world_, Prng(options.seed).Fork("storms")),
        slots_(world_, Prng(options.seed).Fork("slots")),
        barriers_(world_, Prng(options.seed).Fork("barrier operator")),
        schemas_(world_, timeline_, Prng(options.seed).Fork("schema operator")),
        rows_(world_, timeline_, Prng(options.seed).Fork("row clients")),
        feeds_(world_, Prng(options.seed).Fork("feed operator")),
        feed_mail_(world_, Prng(options.seed).Fork("feed mail")) {}

  RunResult Go() {
    if (Form() && MakeTables() && Break() && Converge() && DeliverAll() && PassBarrier() && DropThin() &&
        HangDisk() && Settle() && FindNoRows() && TurnAway() && SayFarewell() && Sleep() &&
        (!options_.recovery || Recover()))
      Judge();
    Sum().faults = nemesis_.faults();
    result_.changes = world_.membership().changes();
    result_.schema_changes = schemas_.made();
    result_.schema_undone = schemas_.undone();
    result_.rows_answered = rows_.answered();
    result_.rows_refused = rows_.refused();
    result_.databases_created = databases_.created();
    result_.databases_dropped = databases_.dropped();
    result_.procedures = world_.procedures().ended();
    result_.tasks = world_.procedures().tasks();
    result_.barriers = world_.leases().proceeded();
    return result_;
  }

 private:
  // A database for them, in which a key that names no table is no key.
  bool MakeTables() {
    if (options_.tables == 0) return true;
    Enter("tables");
    bool created = false;
    world_.CreateDatabase(kTablesDatabase, 2, [&created] { created = true; }, /*strict=*/true);
    return Until(
        options_.convergence_limit, [&created] { return created; },
        [] { return std::string("the database of the tables"); });
  }

  bool FindNoRows() {
    rows_.CheckAtRest();
    return !world_.failed();
  }

  bool Break() {
    Enter("faults");
    world_.StartClients();
    result_.broken = result_.healed = world_.scheduler().now();
    nemesis_.Start();
    membership_.Start();
    databases_.Start();
    placement_.Start();
    storms_.Start();
    slots_.Start();
    barriers_.Start();
    schemas_.Start();
    rows_.Start();
    feeds_.Start();
    const Instant end = world_.scheduler().now() + options_.fault_phase;
    // In the middle of it all an operator wants another database: it exists whole or not at all.
    world_.scheduler().After(options_.fault_phase / 3, "operator",
                             [this] { world_.CreateDatabase("second", 2, [] {}); });
    while (world_.scheduler().now() < end && !world_.failed()) {
      Pass();
      feeds_.Look();
    }
    return !world_.failed();
  }

  bool Converge() {
    Enter("converge");
    nemesis_.Heal();
    storms_.Finish();
    world_.Calm();
    membership_.Finish();
    databases_.Finish();
    placement_.Finish();
    slots_.Finish();
    barriers_.Finish();
    schemas_.Finish();
    const Instant healed = world_.scheduler().now();
    const bool converged = Until(
        options_.convergence_limit,
        [this, healed] {
          return world_.UnservedSince(healed).empty() && membership_.Unfinished().empty() &&
                 databases_.Unfinished().empty() && placement_.Unfinished().empty() &&
                 slots_.Unfinished().empty() && schemas_.Unfinished().empty() &&
                 world_.schemas().Unsettled().empty() && world_.Unsettled(/*replicas=*/false).empty() &&
                 world_.databases().Unsettled().empty();
        },
        [this, healed] {
          return world_.Unsettled(false) + " " + membership_.Unfinished() + " " + databases_.Unfinished() +
                 " " + placement_.Unfinished() + " " + slots_.Unfinished() + " " + schemas_.Unfinished() +
                 " " + world_.schemas().Unsettled() + " " + world_.databases().Unsettled() + " " +
                 world_.UnservedSince(healed);
        });
    result_.healed = world_.scheduler().now();
    result_.key_silence = world_.history().LongestSilence("key", result_.broken, result_.healed);
    result_.entry_silence = world_.history().LongestSilence("entry", result_.broken, result_.healed);
    if (converged) world_.databases().CheckAtRest();
    if (converged) schemas_.Check();
    rows_.Stop();
    return converged && !world_.failed();
  }

  // Every changefeed runs once, and delivers what was acknowledged; then they go, and regions keep nothing.
  bool DeliverAll() {
    if (options_.changefeeds == 0) return true;
    Enter("changefeeds");
    feeds_.Finish();
    const auto rest = [this] {
      feeds_.Look();
      return feeds_.Unfinished();
    };
    if (!Until(
            options_.convergence_limit, [&] { return rest().empty(); }, rest,
            "changefeeds deliver everything after the last fault")) {
      return false;
    }
    feeds_.MoveAll();
    const auto moved = [this] {
      feeds_.Look();
      return feeds_.NotMoved();
    };
    if (!Until(
            options_.convergence_limit, [&] { return moved().empty(); }, moved,
            "changefeeds are moved at rest")) {
      return false;
    }
    result_.feeds_created = feeds_.created();
    result_.feed_messages = world_.feed_sinks().messages();
    result_.feed_duplicates = world_.feed_sinks().duplicates();
    result_.feed_rows = world_.feed_sinks().rows();
    result_.feed_schema_changes = world_.feed_sinks().schema_changes();
    result_.mail_repeated = feed_mail_.repeated();
    result_.mail_forged = feed_mail_.forged();
    feeds_.RemoveAll();
    const auto gone = [this] {
      feeds_.Look();
      return feeds_.NotRemoved();
    };
    return Until(
        options_.convergence_limit, [&] { return gone().empty(); }, gone, "changefeeds are removed at rest");
  }

  // All are alive: a barrier costs a push and an answer, whatever was lost before.
  // The first may have to wait for nodes that are on their way back; then all are there.
  bool PassBarrier() {
    Enter("barrier");
    return PassBarrier(options_.convergence_limit, "a barrier passes when all are alive") &&
           PassBarrier(kBarrierLimit, "a barrier passes at once when all are there");
  }

  bool PassBarrier(Duration limit, const std::string& invariant) {
    std::optional<::tenure::v1::BarrierResponse> answer;
    bool answered = false;
    const auto ask = [&] {
      answered = false;
      barriers_.Ask([&](std::optional<::tenure::v1::BarrierResponse> said) {
        answer = std::move(said);
        answered = true;
      });
    };
    ask();
    const auto passed = [&] {
      if (answered && !(answer && answer->proceeded())) ask();  // its budget was spent
      return answered;
    };
    return Until(limit, passed, [] { return std::string("a barrier"); }, invariant);
  }

  // What follows takes a machine away, which a region with fewer than three replicas does not stand.
  bool DropThin() {
    Enter("drop");
    databases_.DropThin();
    return Until(
        options_.convergence_limit,
        [this] {
          return databases_.Unfinished().empty() && world_.Unsettled(/*replicas=*/false).empty() &&
                 world_.databases().Unsettled().empty();
        },
        [this] {
          return databases_.Unfinished() + " " + world_.Unsettled(false) + " " +
                 world_.databases().Unsettled();
        });
  }

  // With everything else sound: whoever does not get his writes to his disk gives up what he leads, of which
  // nobody may hear while nothing is written.
  bool HangDisk() {
    if (!options_.more_phases || !world_.has_spare_members()) return true;
    Enter("hung disk");
    const std::string invariant = "a leader whose disk hangs is replaced";
    world_.scheduler().RunFor(kReconnectTime);
    Prng draws = Prng(options_.seed).Fork("hung disk");
    // A controller: a machine that is only a node may hold nothing that anybody writes to.
    const size_t victim = draws.Below(options_.processes);
    const std::vector<GroupId> led = world_.LedBy(victim);
    Machine& machine = *world_.machines()[victim];
    world_.Note("fault: hung disk of " + machine.name);
    machine.disk.HangSyncs();
    // Somebody writes, be it an entry of another leader.
    if (!Until(
            kWriteLimit, [&] { return machine.server->wal().WaitingSince().has_value(); },
            [&] { return machine.name + " to write"; }, invariant)) {
      return false;
    }
    const auto elsewhere = [this, victim](GroupId group) {
      const auto server = world_.ServerOf(group);
      return server && *server != victim;
    };
    const bool moved = Until(
        kHungDiskLimit, [&] { return std::all_of(led.begin(), led.end(), elsewhere); },
        [&] {
          const auto stays = std::find_if_not(led.begin(), led.end(), elsewhere);
          return fmt::format("group {} to be led elsewhere than on {}", *stays, machine.name);
        },
        invariant);
    if (moved && !world_.LedBy(victim).empty()) {
      world_.Fail(invariant,
                  fmt::format("{} still serves group {}", machine.name, world_.LedBy(victim).front()));
    }
    machine.disk.ReleaseSyncs();
    world_.Note("mended: hung disk of " + machine.name);
    return !world_.failed();
  }

  bool TurnAway() {
    if (!options_.token) return true;
    Enter("strangers");
    strangers_.Try();
    return Until(
        kStrangersLimit, [this] { return strangers_.waiting() == 0; },
        [this] { return fmt::format("answers to {} calls of strangers", strangers_.waiting()); });
  }

  // A node is stopped in the moment in which the catalog's leader dies: whoever leads next is told, long
  // before it would be missed.
  bool SayFarewell() {
    Prng draws = Prng(options_.seed).Fork("farewell");
    if (!options_.more_phases || !world_.has_spare_members() || draws.Chance(1, 2)) return true;
    Enter("farewell");
    const std::string invariant = "a farewell reaches whoever leads next";
    const auto leader = world_.ServerOf(kCatalogGroup);
    if (!leader) {
      world_.Fail(invariant, "nobody leads the catalog at rest");
      return false;
    }
    const size_t machines = world_.machines().size();
    const size_t victim = (*leader + 1 + draws.Below(machines - 1)) % machines;
    // The operator's word stands above what a node says of itself.
    if (world_.NodeStateOf(victim) == ::tenure::v1::NODE_DRAINING) return true;
    world_.Kill(*leader, CrashKind::kProcess);
    bool stopped = false;
    world_.StopNode(victim, kFarewellLimit, [&stopped] { stopped = true; });
    const bool said = Until(
        kFarewellLimit, [&] { return stopped && world_.NodeStateOf(victim) == ::tenure::v1::NODE_DOWN; },
        [&] {
          return fmt::format("{} {}", world_.machines()[victim]->name,
                             stopped ? "to be DOWN in the catalog" : "to have said farewell");
        },
        invariant);
    world_.Kill(victim, CrashKind::kProcess);
    world_.Boot(*leader);
    world_.Boot(victim);
    return said &&
           Until(
               options_.convergence_limit, [this] { return world_.Unsettled(/*replicas=*/true).empty(); },
               [this] { return world_.Unsettled(true); });
  }

  // Without clients region groups send nothing, with one process gone as well; and yet they find new leaders.
  bool Sleep() {
    if (!options_.more_phases || !world_.has_spare_members()) return true;
    Enter("sleep");
    const std::string invariant = "idle groups sleep";
    const auto asleep = [&](const char* when) {
      return Until(
          kSleepLimit, [this] { return world_.NotQuiescent().empty(); },
          [this, when] { return world_.NotQuiescent() + " to be quiescent " + when; }, invariant);
    };
    // Until leaderships are evened out some wake up now and then.
    uint64_t sent = 1;
    for (int window = 0; window < kSleepWindows && sent > 0; ++window) {
      if (!asleep("with all processes up")) return false;
      // The answers to the heartbeat that said so are on their way.
      world_.scheduler().RunFor(std::chrono::seconds(1));
      const uint64_t before = world_.RegionMessages();
      world_.scheduler().RunFor(kSleepTime);
      sent = world_.RegionMessages() - before;
    }
    if (sent > 0) {
      world_.Fail(invariant, fmt::format("{} Raft messages in the last of {} times {} ms", sent,
                                         kSleepWindows, ToMillis(kSleepTime)));
      return false;
    }
    const size_t victim = Prng(options_.seed).Fork("sleep").Below(world_.machines().size());
    std::vector<GroupId> led = world_.LedBy(victim);
    world_.Kill(victim, CrashKind::kProcess);
    const auto led_again = [this](GroupId group) { return world_.ServerOf(group).has_value(); };
    if (!Until(
            kSleepersLimit, [&] { return std::all_of(led.begin(), led.end(), led_again); },
            [&] {
              return fmt::format("a leader of group {}",
                                 *std::find_if_not(led.begin(), led.end(), led_again));
            },
            "idle groups find a new leader") ||
        !asleep("with one process gone")) {
      return false;
    }
    world_.Boot(victim);
    return Until(
               options_.convergence_limit, [this] { return world_.Unsettled(/*replicas=*/true).empty(); },
               [this] { return world_.Unsettled(true); }) &&
           asleep("with the process back");
  }

  bool Recover() {
    Enter("recover");
    world_.groups().ExcuseUntil(Instant::max());  // the old disks have a leader, of before
    RecoveryScenario scenario(world_, Prng(options_.seed).Fork("recovery"),
                              [this](Duration limit, const std::function<std::string()>& waiting) {
                                return Until(limit, [&waiting] { return waiting().empty(); }, waiting);
                              });
    return scenario.Go() && Settle();
  }

  Nemesis nemesis_;
  MembershipOperator membership_;
  PlacementOperator placement_;
  Strangers strangers_{world_};
  DatabaseOperator databases_;
  LeadershipStorms storms_;
  SlotOperator slots_;
  BarrierOperator barriers_;
  SchemaTimeline timeline_;
  SchemaOperator schemas_;
  RowClients rows_;
  FeedOperator feeds_;
  FeedMail feed_mail_;
};

}  // namespace

RunResult RunSeed(const SimOptions& options, LogSink* trace, Scheduler::Trace on_event) {
  if (options.power_losses > 0) return RunPowerLosses(options, trace, std::move(on_event));
  return Run(options, trace, std::move(on_event)).Go();
}

}  // namespace tenure::sim
