// COMMAND ...: what clients learn commands' keys from.
#include <fmt/format.h>

#include "resp/handlers.h"

namespace tenure::resp {
namespace {

struct Row {
  std::string_view name;
  int arity;
  bool write = false;
  bool data = false;
  int first_key = 0;
  int last_key = 0;
  int key_step = 0;
  std::string_view group;
};

std::string_view GroupOf(const store::CommandSpec& spec) {
  return spec.name.starts_with("h") ? "hash" : "string";
}

Row RowOf(const store::CommandSpec& spec) {
  return {spec.name,      spec.arity,    spec.write,    true,
          spec.first_key, spec.last_key, spec.key_step, GroupOf(spec)};
}

Row RowOf(const FrontCommand& command) {
  Row row{command.name, command.arity};
  row.group = command.group;
  if (command.name == "watch") {
    row.first_key = 1;
    row.last_key = -1;
    row.key_step = 1;
  }
  return row;
}

bool IsSubcommand(const FrontCommand& command) {
  return command.name.find('|') != std::string_view::npos;
}

std::vector<Row> AllRows() {
  std::vector<Row> rows;
  for (const store::CommandSpec& spec : store::AllCommands()) {
    if (spec.first_key > 0) rows.push_back(RowOf(spec));
  }
  for (const FrontCommand& command : AllFrontCommands()) {
    if (!IsSubcommand(command)) rows.push_back(RowOf(command));
  }
  return rows;
}

std::optional<Row> FindRow(std::string_view name) {
  const store::CommandSpec* spec = store::FindCommand(name);
  if (spec != nullptr && spec->first_key > 0) return RowOf(*spec);
  const FrontCommand* command = FindFrontCommandByName(name);
  return command != nullptr ? std::optional(RowOf(*command)) : std::nullopt;
}

void WriteNames(ReplyWriter& reply, std::initializer_list<std::string_view> names, bool as_set) {
  as_set ? reply.Set(names.size()) : reply.Array(names.size());
  for (const std::string_view name : names) reply.Simple(name);
}

// Ten fields as of Redis 7: name, arity, flags, first key, last key, step, categories, tips, key specs,
// subcommands.
void WriteRow(const Row& row, ReplyWriter& reply) {
  reply.Array(10);
  reply.Bulk(row.name);
  reply.Integer(row.arity);
  if (row.data) {
    WriteNames(reply, {row.write ? "write" : "readonly"}, true);
  } else {
    WriteNames(reply, {"loading", "stale"}, true);
  }
  reply.Integer(row.first_key);
  reply.Integer(row.last_key);
  reply.Integer(row.key_step);
  if (row.data) {
    WriteNames(reply, {row.write ? "@write" : "@read", row.group == "hash" ? "@hash" : "@string"}, true);
  } else {
    WriteNames(reply, {row.group == "connection" ? "@connection" : "@slow"}, true);
  }
  reply.Array(0);
  reply.Array(0);
  reply.Array(0);
}

void WriteDocs(const Row& row, ReplyWriter& reply) {
  reply.Bulk(row.name);
  reply.Map(2);
  reply.Bulk("summary");
  reply.Bulk(fmt::format("As in Redis: https://redis.io/commands/{}. Differences: docs/resp.md.", row.name));
  reply.Bulk("group");
  reply.Bulk(row.group);
}

}  // namespace

void Command(CommandContext& c) {
  const std::vector<Row> rows = AllRows();
  c.reply.Array(rows.size());
  for (const Row& row : rows) WriteRow(row, c.reply);
}

void CommandCount(CommandContext& c) {
  c.reply.Integer(static_cast<int64_t>(AllRows().size()));
}

void CommandList(CommandContext& c) {
  std::vector<Row> rows = AllRows();
  if (c.size() > 2) {
    if (c.size() != 5 || !EqualsIgnoreCase(c[2], "filterby")) return c.reply.Error("ERR syntax error");
    const std::string& wanted = c[4];
    if (EqualsIgnoreCase(c[3], "pattern")) {
      std::erase_if(rows, [&](const Row& row) { return !MatchesPattern(wanted, row.name); });
    } else if (EqualsIgnoreCase(c[3], "module") || EqualsIgnoreCase(c[3], "aclcat")) {
      rows.clear();
    } else {
      return c.reply.Error("ERR syntax error");
    }
  }
  c.reply.Set(rows.size());
  for (const Row& row : rows) c.reply.Bulk(row.name);
}

void CommandInfo(CommandContext& c) {
  if (c.size() == 2) {
    const std::vector<Row> rows = AllRows();
    c.reply.Array(rows.size());
    for (const Row& row : rows) WriteRow(row, c.reply);
    return;
  }
  c.reply.Array(c.size() - 2);
  for (size_t i = 2; i < c.size(); ++i) {
    if (const std::optional<Row> row = FindRow(c[i])) {
      WriteRow(*row, c.reply);
    } else {
      c.reply.Null();
    }
  }
}

void CommandDocs(CommandContext& c) {
  std::vector<Row> rows;
  if (c.size() == 2) rows = AllRows();
  for (size_t i = 2; i < c.size(); ++i) {
    if (const std::optional<Row> row = FindRow(c[i])) rows.push_back(*row);
  }
  c.reply.Map(rows.size());
  for (const Row& row : rows) WriteDocs(row, c.reply);
}

void CommandGetKeys(CommandContext& c) {
  const store::Arguments inner(c.arguments.begin() + 2, c.arguments.end());
  const std::optional<Row> row = FindRow(inner[0]);
  if (!row) return c.reply.Error("ERR Invalid command specified");
  if (!ArityFits(row->arity, inner.size())) {
    return c.reply.Error("ERR Invalid number of arguments specified for command");
  }
  if (row->first_key == 0) return c.reply.Error("ERR The command has no key arguments");
  const store::CommandSpec spec{row->name,      row->arity,    row->write,
                                row->first_key, row->last_key, row->key_step};
  const std::vector<std::string_view> keys = store::KeysOf(spec, inner);
  c.reply.Array(keys.size());
  for (const std::string_view key : keys) c.reply.Bulk(key);
}

void CommandHelp(CommandContext& c) {
  constexpr std::string_view kLines[] = {"COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
                                         "(no subcommand)",
                                         "    Return details about all commands.",
                                         "COUNT",
                                         "    Return the total number of commands in this server.",
                                         "LIST [FILTERBY PATTERN <pattern>]",
                                         "    Return a list of all commands in this server.",
                                         "INFO [<command-name> ...]",
                                         "    Return details about multiple commands.",
                                         "DOCS [<command-name> ...]",
                                         "    Return documentation details about multiple commands.",
                                         "GETKEYS <full-command>",
                                         "    Return the keys from a full command.",
                                         "HELP",
                                         "    Prints this help."};
  c.reply.Array(std::size(kLines));
  for (const std::string_view line : kLines) c.reply.Simple(line);
}

}  // namespace tenure::resp
