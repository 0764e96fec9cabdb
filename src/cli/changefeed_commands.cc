// tenure changefeed create | list | show | pause | resume | update | move | remove

#include <charconv>
#include <chrono>
#include <thread>

#include "catalog/refusal.h"
#include "cli/invocation.h"
#include "cli/queries.h"
#include "cli/records.h"
#include "cli/schema_arguments.h"
#include "cli/session.h"

namespace tenure::cli {
namespace {

constexpr Duration kWaitTimeout = std::chrono::seconds(60);
constexpr Duration kPoll = std::chrono::milliseconds(200);

struct Options {
  std::string name;
  std::string database;
  std::string filter;
  std::string sink;
  std::string protocol;
  std::string start_ts;
  std::string target_ts;
  std::string gc_ttl;
  std::string stall_after;
  std::string to;
  bool initial_snapshot = false;
  bool no_verify = false;
  bool explain = false;
  bool wait = true;
};

StatusOr<uint64_t> ParseTimestamp(std::string_view option, const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  return Error(StatusCode::kInvalidArgument, "{}: '{}' is no commit timestamp, a number of 64 bits", option,
               text);
}

StatusOr<int64_t> ParseDuration(std::string_view option, const std::string& text) {
  const auto parsed = ParseTtl(text);
  if (parsed.ok() && *parsed > 0) return *parsed;
  return Error(StatusCode::kInvalidArgument, "{}: '{}' is no time above 0, as 7d, 12h, 30m, 10s", option,
               text);
}

std::string OwnerText(const pb::Changefeed& feed) {
  if (feed.record().owner_node() == 0) return "-";
  return fmt::format("{} (node {})", feed.owner_name(), feed.record().owner_node());
}

// "-" before it has begun.
std::string TimestampText(uint64_t ts) {
  if (ts == 0) return "-";
  return fmt::format("{} ({})", ts, FormatTime(static_cast<int64_t>(ts >> 18)));
}
std::string LagText(const pb::Changefeed& feed) {
  if (feed.checkpoint_ts() == 0) return "-";
  const std::string time = FormatMillis(static_cast<double>(feed.lag_ms()));
  return feed.has_lag_rows() ? fmt::format("{}, {} rows", time, feed.lag_rows()) : time;
}

void PrintOne(const Invocation& invocation, const pb::Changefeed& feed) {
  if (invocation.format == OutputFormat::kJson) return PrintJson(ToJson(feed));
  const pb::ChangefeedRecord& record = feed.record();
  std::string text = fmt::format(
      "id           {}\nname         {}\nstate        {}\ndatabase     {}\nfilter       {}\nsink         {}\n"
      "epoch        {}\nowner        {}\ncheckpoint   {}\nlag          {}\nstart        {}\ntarget       "
      "{}\n",
      record.id(), record.name(), StateText(record.state()), feed.database(),
      record.filter().empty() ? "everything" : record.filter(), SinkText(record.sink()), record.owner_epoch(),
      OwnerText(feed), TimestampText(feed.checkpoint_ts()), LagText(feed), TimestampText(record.start_ts()),
      TimestampText(record.target_ts()));
  if (!feed.pending().empty()) text += fmt::format("under way    {}\n", feed.pending());
  if (!record.fault().code().empty()) text += fmt::format("error        {}\n", FaultText(record.fault()));
  if (!feed.explanation().empty()) text += fmt::format("held back by {}\n", feed.explanation());
  if (!feed.dispatchers().empty()) {
    Table table({"TABLE", "REGION", "NODE", "STATE", "POSITION", "ROWS/S", "BEHIND", "ERROR"});
    for (const pb::ChangefeedDispatcher& dispatcher : feed.dispatchers()) {
      table.AddRow({dispatcher.table(), IdText(dispatcher.region()),
                    dispatcher.node() == 0 ? "-" : IdText(dispatcher.node()), dispatcher.state(),
                    IdText(dispatcher.position_ts()), IdText(dispatcher.rows_per_second()),
                    IdText(dispatcher.rows_behind()), dispatcher.error().empty() ? "-" : dispatcher.error()});
    }
    text += "\n" + table.ToString();
  }
  Print(text);
}

StatusOr<pb::ChangefeedResponse> ShowOf(Session& session, const std::string& name, bool explain,
                                        Duration timeout) {
  pb::ShowChangefeedRequest request;
  request.set_name(name);
  request.set_explain(explain);
  return session.Call<pb::ChangefeedResponse>("tenure.v1.Changefeeds/Show", request, timeout);
}

// Asks until `settled(feed)`, or until it fails; a changefeed that is gone is null.
template <class Settled>
Status WaitFor(Session& session, const Invocation& invocation, const std::string& name, std::string_view what,
               Settled settled) {
  const Duration limit = invocation.timeout_given ? invocation.timeout() : kWaitTimeout;
  const auto until = std::chrono::steady_clock::now() + limit;
  std::string last;
  while (true) {
    const auto shown = ShowOf(session, name, false, limit);
    if (!shown.ok() && catalog::IsReason(shown.status(), pb::REASON_NOT_FOUND)) {
      if (settled(nullptr)) return OkStatus();
      return shown.status();
    }
    if (!shown.ok()) return shown.status();
    const pb::Changefeed& feed = shown->changefeed();
    if (settled(&feed)) return OkStatus();
    last = feed.pending().empty() ? StateText(feed.record().state()) : feed.pending();
    if (std::chrono::steady_clock::now() >= until) {
      return Error(StatusCode::kDeadlineExceeded,
                   "changefeed '{}' is not {} after {} ms, and goes on ({}): see tenure changefeed show {}",
                   name, what, ToMillis(limit), last, name);
    }
    std::this_thread::sleep_for(kPoll);
  }
}

Status Finish(Session& session, const Invocation& invocation, const std::string& name) {
  TENURE_ASSIGN_OR_RETURN(const auto shown, ShowOf(session, name, false, invocation.timeout()));
  PrintOne(invocation, shown.changefeed());
  return OkStatus();
}

bool Stands(const pb::Changefeed& feed) {
  return feed.record().state() == pb::CHANGEFEED_FAILED || feed.record().state() == pb::CHANGEFEED_FINISHED;
}

// It runs: somebody owns it, and nothing is under way. One that failed has said why.
Status AwaitRunning(Session& session, const Invocation& invocation, const std::string& name) {
  std::string fault;
  TENURE_RETURN_IF_ERROR(WaitFor(session, invocation, name, "running", [&fault](const pb::Changefeed* feed) {
    if (feed == nullptr) return false;
    if (feed->record().state() == pb::CHANGEFEED_FAILED) fault = FaultText(feed->record().fault());
    return Stands(*feed) || (feed->record().owner_node() != 0 && feed->pending().empty());
  }));
  if (!fault.empty())
    return Error(StatusCode::kFailedPrecondition, "changefeed '{}' has failed: {}", name, fault);
  return OkStatus();
}

Status Create(const Invocation& invocation, const Options& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::CreateChangefeedRequest request;
  *request.mutable_id() = session->NextRequestId();
  request.set_name(options.name);
  request.set_database(options.database);
  request.set_filter(options.filter);
  request.set_sink(options.sink);
  request.set_protocol(options.protocol);
  request.set_initial_snapshot(options.initial_snapshot);
  request.set_no_verify(options.no_verify);
  if (!options.start_ts.empty()) {
    TENURE_ASSIGN_OR_RETURN(const uint64_t ts, ParseTimestamp("--start-ts", options.start_ts));
    request.set_start_ts(ts);
  }
  if (!options.target_ts.empty()) {
    TENURE_ASSIGN_OR_RETURN(const uint64_t ts, ParseTimestamp("--target-ts", options.target_ts));
    request.set_target_ts(ts);
  }
  if (!options.gc_ttl.empty()) {
    TENURE_ASSIGN_OR_RETURN(const int64_t ms, ParseDuration("--gc-ttl", options.gc_ttl));
    request.set_gc_ttl_ms(ms);
  }
  if (!options.stall_after.empty()) {
    TENURE_ASSIGN_OR_RETURN(const int64_t ms, ParseDuration("--stall-after", options.stall_after));
    request.set_stall_after_ms(ms);
  }
  TENURE_RETURN_IF_ERROR(session
                             ->Call<pb::ChangefeedResponse>("tenure.v1.Changefeeds/Create", request,
                                                            invocation.load_timeout(),
                                                            invocation.load_timeout())
                             .status());
  if (options.wait) TENURE_RETURN_IF_ERROR(AwaitRunning(*session, invocation, options.name));
  return Finish(*session, invocation, options.name);
}

Status Update(const Invocation& invocation, const Options& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::UpdateChangefeedRequest request;
  *request.mutable_id() = session->NextRequestId();
  request.set_name(options.name);
  request.set_no_verify(options.no_verify);
  if (!options.filter.empty()) request.set_filter(options.filter);
  if (!options.sink.empty()) request.set_sink(options.sink);
  if (!options.protocol.empty()) request.set_protocol(options.protocol);
  if (!options.target_ts.empty()) {
    TENURE_ASSIGN_OR_RETURN(const uint64_t ts, ParseTimestamp("--target-ts", options.target_ts));
    request.set_target_ts(ts);
  }
  if (!options.gc_ttl.empty()) {
    TENURE_ASSIGN_OR_RETURN(const int64_t ms, ParseDuration("--gc-ttl", options.gc_ttl));
    request.set_gc_ttl_ms(ms);
  }
  if (!options.stall_after.empty()) {
    TENURE_ASSIGN_OR_RETURN(const int64_t ms, ParseDuration("--stall-after", options.stall_after));
    request.set_stall_after_ms(ms);
  }
  TENURE_RETURN_IF_ERROR(session
                             ->Call<pb::ChangefeedResponse>("tenure.v1.Changefeeds/Update", request,
                                                            invocation.load_timeout(),
                                                            invocation.load_timeout())
                             .status());
  return Finish(*session, invocation, options.name);
}

// Pause, resume, remove.
StatusOr<pb::ChangefeedResponse> Ask(Session& session, const Invocation& invocation,
                                     const std::string& method, const std::string& name) {
  pb::ChangefeedRequest request;
  *request.mutable_id() = session.NextRequestId();
  request.set_name(name);
  return session.Call<pb::ChangefeedResponse>("tenure.v1.Changefeeds/" + method, request,
                                              invocation.timeout());
}

Status Pause(const Invocation& invocation, const Options& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_RETURN_IF_ERROR(Ask(*session, invocation, "Pause", options.name).status());
  if (options.wait) {
    TENURE_RETURN_IF_ERROR(
        WaitFor(*session, invocation, options.name, "stopped", [](const pb::Changefeed* feed) {
          return feed != nullptr && feed->record().owner_node() == 0 && feed->pending().empty();
        }));
  }
  return Finish(*session, invocation, options.name);
}

Status Resume(const Invocation& invocation, const Options& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_RETURN_IF_ERROR(Ask(*session, invocation, "Resume", options.name).status());
  if (options.wait) TENURE_RETURN_IF_ERROR(AwaitRunning(*session, invocation, options.name));
  return Finish(*session, invocation, options.name);
}

Status Remove(const Invocation& invocation, const Options& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto answer, Ask(*session, invocation, "Remove", options.name));
  const uint64_t id = answer.changefeed().record().id();
  if (options.wait) {
    TENURE_RETURN_IF_ERROR(
        WaitFor(*session, invocation, options.name, "removed", [id](const pb::Changefeed* feed) {
          return feed == nullptr || (id != 0 && feed->record().id() != id);
        }));
  }
  const std::string state = options.wait ? "REMOVED" : "REMOVING";
  if (invocation.format == OutputFormat::kJson) {
    PrintJson({{"id", IdText(id)}, {"name", options.name}, {"state", state}});
  } else {
    Print(fmt::format("changefeed {} is {}\n", options.name, options.wait ? "removed" : "being removed"));
  }
  return OkStatus();
}

Status Move(const Invocation& invocation, const Options& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::MoveChangefeedRequest request;
  request.set_name(options.name);
  if (!options.to.empty()) {
    TENURE_ASSIGN_OR_RETURN(const auto nodes, ListRecords(*session, pb::RECORD_NODE, invocation.timeout()));
    const auto found = FindByIdOrName(
        nodes, options.to, [](const pb::Record& r) { return IdText(r.node().id()); },
        [](const pb::Record& r) { return r.node().name(); });
    if (found == nodes.end())
      return catalog::Refuse(pb::REASON_NOT_FOUND, "--to: there is no node '{}'", options.to);
    request.set_node(found->node().id());
  }
  TENURE_ASSIGN_OR_RETURN(const auto answer,
                          session->CallOnce<pb::ChangefeedResponse>("tenure.v1.Changefeeds/Move", request,
                                                                    invocation.load_timeout()));
  const uint64_t epoch = answer.changefeed().record().owner_epoch();
  if (options.wait) {
    std::string stopped;
    TENURE_RETURN_IF_ERROR(
        WaitFor(*session, invocation, options.name, "moved", [&](const pb::Changefeed* feed) {
          if (feed == nullptr) return false;
          if (feed->record().state() != pb::CHANGEFEED_NORMAL &&
              feed->record().state() != pb::CHANGEFEED_WARNING)
            stopped = StateText(feed->record().state());
          return !stopped.empty() || (feed->record().owner_epoch() > epoch &&
                                      feed->record().owner_node() != 0 && feed->pending().empty());
        }));
    if (!stopped.empty())
      return Error(StatusCode::kFailedPrecondition, "changefeed '{}' is {} meanwhile: it was not moved",
                   options.name, stopped);
  }
  return Finish(*session, invocation, options.name);
}

Status Show(const Invocation& invocation, const Options& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto shown,
                          ShowOf(*session, options.name, options.explain, invocation.timeout()));
  PrintOne(invocation, shown.changefeed());
  return OkStatus();
}

Status List(const Invocation& invocation, const Options& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::ListChangefeedsRequest request;
  request.set_database(options.database);
  TENURE_ASSIGN_OR_RETURN(const auto answer,
                          session->Call<pb::ListChangefeedsResponse>("tenure.v1.Changefeeds/List", request,
                                                                     invocation.timeout()));
  if (invocation.format == OutputFormat::kJson) {
    Json list = Json::array();
    for (const pb::Changefeed& feed : answer.changefeeds()) list.push_back(ToJson(feed));
    PrintJson(list);
    return OkStatus();
  }
  Table table({"ID", "CHANGEFEED", "STATE", "DATABASE", "OWNER", "EPOCH", "LAG", "SINK", "ERROR"});
  for (const pb::Changefeed& feed : answer.changefeeds()) {
    const pb::ChangefeedRecord& record = feed.record();
    table.AddRow({IdText(record.id()), record.name(), StateText(record.state()), feed.database(),
                  OwnerText(feed), IdText(record.owner_epoch()), LagText(feed), SinkText(record.sink()),
                  record.fault().code().empty() ? "-" : FaultText(record.fault())});
  }
  Print(table.ToString());
  return OkStatus();
}

template <class Run>
std::pair<CLI::App*, std::shared_ptr<Options>> Add(CLI::App* family, Invocation& invocation, const char* name,
                                                   const char* text, Run run) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = family->add_subcommand(name, text);
  OnCommand(command, invocation, options, run);
  return {command, options};
}

void AddChangeable(CLI::App* command, Options& options) {
  command->add_option("--filter", options.filter,
                      "What is followed: table:PATTERN and prefix:BYTES, separated by commas, ! excludes");
  command->add_option("--protocol", options.protocol, "json, debezium or csv; or in the sink's address");
  command->add_option("--target-ts", options.target_ts, "Ends with what was committed up to this timestamp");
  command->add_option("--gc-ttl", options.gc_ttl,
                      "How long history is kept while it stands, as 24h (default)");
  command->add_option("--stall-after", options.stall_after,
                      "A checkpoint that stands still for longer is a WARNING; 60s (default)");
  command->add_flag("--no-verify", options.no_verify, "Do not try the sink first");
}

}  // namespace

void AddChangefeedCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* family =
      AddFamily(app, "changefeed", "Changefeeds: every change of tables and keys, delivered elsewhere");
  const auto add = [&](const char* name, const char* text, auto run) {
    return Add(family, invocation, name, text, run);
  };
  const auto add_named = [&](const char* name, const char* text, auto run) {
    const auto added = add(name, text, run);
    added.first->add_option("name", added.second->name, "Name of the changefeed")->required();
    return added;
  };
  {
    const auto [command, options] = add_named("create", "Create a changefeed", Create);
    command->add_option("--database", options->database, "Whose changes (default: default)")
        ->default_str("default");
    options->database = "default";
    command->add_option("--sink", options->sink, "kafka:// file:// redis:// nats:// stdout:")->required();
    AddChangeable(command, *options);
    command->add_option("--start-ts", options->start_ts,
                        "Begins with what was committed after this timestamp (default: now)");
    command->add_flag("--initial-snapshot", options->initial_snapshot,
                      "First the rows as they are at the start");
    AddWaitFlag(command, options->wait);
  }
  {
    const auto [command, options] = add_named("update", "Change one that is paused or failed", Update);
    command->add_option("--sink", options->sink, "kafka:// file:// redis:// nats:// stdout:");
    AddChangeable(command, *options);
  }
  const auto add_waiting = [&](const char* name, const char* text, auto run) {
    const auto added = add_named(name, text, run);
    AddWaitFlag(added.first, added.second->wait);
    return added;
  };
  add_waiting("pause", "Stop it; its history is kept for --gc-ttl", Pause);
  add_waiting("resume", "Let one that is paused or failed go on from its checkpoint", Resume);
  add_waiting("remove", "End it and forget it", Remove);
  {
    const auto [command, options] = add_waiting("move", "Give its maintainer to another node", Move);
    command->add_option("--to", options->to, "Id or name of the node (default: the one that is best)");
  }
  {
    const auto [command, options] = add_named("show", "One changefeed, its owner and its dispatchers", Show);
    command->add_flag("--explain", options->explain, "What holds the checkpoint back");
  }
  const auto [command, options] = add("list", "All changefeeds, or those of one database", List);
  command->add_option("database", options->database, "Name of the database");
}

}  // namespace tenure::cli
