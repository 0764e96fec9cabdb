#include "sim/scenario.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>

#include "base/format.h"

namespace tenure::sim {
namespace {

constexpr int64_t kMaxFaults = 10'000;

// Where something stands, for messages.
class Place {
 public:
  Place(const std::string& source, std::string table) : source_(source), table_(std::move(table)) {}

  template <class... Args>
  Status Bad(const toml::node& node, std::string_view key, fmt::format_string<Args...> f,
             Args&&... args) const {
    return Error(StatusCode::kInvalidArgument, "{} line {}: {}{}{} {}", source_, node.source().begin.line,
                 table_, table_.empty() || key.empty() ? "" : ".", key,
                 fmt::format(f, std::forward<Args>(args)...));
  }

  StatusOr<int64_t> Number(const toml::node& node, std::string_view key, int64_t min, int64_t max) const {
    if (!node.is_integer()) return Bad(node, key, "is no whole number");
    const int64_t value = node.as_integer()->get();
    if (value < min || value > max) return Bad(node, key, "is {}, it may be {} to {}", value, min, max);
    return value;
  }

 private:
  const std::string& source_;
  const std::string table_;
};

Status ParseSection(const toml::table& table, const std::string& section, const std::string& source,
                    SimOptions& options) {
  const Place place(source, section);
  for (const auto& [key, node] : table) {
    const auto fields = OptionFields();
    const auto field = std::find_if(fields.begin(), fields.end(), [&](const OptionField& candidate) {
      return candidate.section == section && candidate.key == key.str();
    });
    if (field == fields.end()) {
      std::string known;
      for (const OptionField& f : fields) known += f.section == section ? fmt::format(" {}", f.key) : "";
      return place.Bad(node, key.str(), "is unknown; there are:{}", known);
    }
    const bool boolean = field->min == 0 && field->max == 1;
    if (boolean && !node.is_boolean()) return place.Bad(node, key.str(), "is neither true nor false");
    if (boolean) {
      field->set(options, node.as_boolean()->get() ? 1 : 0);
      continue;
    }
    TENURE_ASSIGN_OR_RETURN(const int64_t value, place.Number(node, key.str(), field->min, field->max));
    field->set(options, value);
  }
  return OkStatus();
}

class FaultParser {
 public:
  FaultParser(const toml::table& table, size_t number, const std::string& source, const SimOptions& options)
      : table_(table), options_(options), place_(source, fmt::format("fault {}", number)) {}

  StatusOr<Fault> Parse() {
    TENURE_RETURN_IF_ERROR(FindKind());
    const bool machine = spec_->target != FaultSpec::Target::kNone;
    const bool link = spec_->target == FaultSpec::Target::kLink;
    const int64_t phase = ToMillis(options_.fault_phase);
    for (const auto& [key, node] : table_) {
      const std::string_view name = key.str();
      if (name == "kind") continue;
      if (name == "at_ms") {
        TENURE_ASSIGN_OR_RETURN(const int64_t at, place_.Number(node, name, 0, phase));
        fault_.at = std::chrono::milliseconds(at);
      } else if (name == "length_ms" && spec_->lasts) {
        TENURE_ASSIGN_OR_RETURN(const int64_t length, place_.Number(node, name, 0, 3'600'000));
        fault_.length = std::chrono::milliseconds(length);
      } else if (name == "machine" && machine) {
        TENURE_ASSIGN_OR_RETURN(fault_.machine, Machine(node, name, true));
      } else if (name == "other" && link) {
        TENURE_ASSIGN_OR_RETURN(fault_.other, Machine(node, name, false));
      } else if (!spec_->value.empty() && name == spec_->value) {
        TENURE_ASSIGN_OR_RETURN(fault_.value, Value(node, name));
      } else {
        return place_.Bad(node, name, "is nothing that a {} has; it has: {}", spec_->name, Keys());
      }
    }
    for (const auto& [key, needed] : {std::pair<std::string_view, bool>{"at_ms", true},
                                      {"length_ms", spec_->lasts},
                                      {"machine", machine},
                                      {"other", link},
                                      {spec_->value, !spec_->value.empty()}}) {
      if (needed && !table_.contains(key))
        return place_.Bad(table_, key, "is missing: a {} has: {}", spec_->name, Keys());
    }
    if (link && fault_.machine == fault_.other)
      return place_.Bad(table_, "other", "is the same as machine: a link has two ends");
    return fault_;
  }

 private:
  Status FindKind() {
    const auto* const kind = table_.get_as<std::string>("kind");
    if (kind == nullptr) return place_.Bad(table_, "kind", "is missing; kinds: {}", Kinds());
    spec_ = FindSpec(kind->get());
    if (spec_ == nullptr)
      return place_.Bad(*kind, "kind", "'{}' is unknown; kinds: {}", kind->get(), Kinds());
    fault_.kind = spec_->kind;
    return OkStatus();
  }
  static std::string Kinds() {
    std::string kinds;
    for (const FaultSpec& spec : Atlas()) kinds += fmt::format("{}{}", kinds.empty() ? "" : " ", spec.name);
    return kinds;
  }
  std::string Keys() const {
    return fmt::format("kind at_ms{}{}{}{}{}", spec_->lasts ? " length_ms" : "",
                       spec_->target != FaultSpec::Target::kNone ? " machine" : "",
                       spec_->target == FaultSpec::Target::kLink ? " other" : "",
                       spec_->value.empty() ? "" : " ", spec_->value);
  }
  uint32_t machines() const { return options_.processes + options_.spares + options_.data_nodes; }
  StatusOr<uint32_t> Machine(const toml::node& node, std::string_view key, bool leader) const {
    if (leader && node.is_string() && node.as_string()->get() == "leader") return kLeaderMachine;
    if (!node.is_integer())
      return place_.Bad(node, key, "is no machine: 1 to {}{}", machines(), leader ? " or \"leader\"" : "");
    TENURE_ASSIGN_OR_RETURN(const int64_t number, place_.Number(node, key, 1, machines()));
    return static_cast<uint32_t>(number - 1);
  }
  StatusOr<int64_t> Value(const toml::node& node, std::string_view key) const {
    if (spec_->value != "machines" || node.is_integer())
      return place_.Number(node, key, spec_->min_value, spec_->max_value);
    if (!node.is_array()) return place_.Bad(node, key, "is no list of machines");
    int64_t set = 0;
    for (const toml::node& element : *node.as_array()) {
      TENURE_ASSIGN_OR_RETURN(const uint32_t machine, Machine(element, key, false));
      set |= int64_t{1} << machine;
    }
    return set;
  }

  const toml::table& table_;
  const SimOptions& options_;
  const Place place_;
  const FaultSpec* spec_ = nullptr;
  Fault fault_;
};

Status ParseFaults(const toml::node& node, const std::string& source, SimOptions& options) {
  const Place place(source, "fault");
  if (!node.is_array_of_tables()) return place.Bad(node, "", "is no list of tables: write [[fault]]");
  const toml::array& array = *node.as_array();
  if (array.size() > kMaxFaults) return place.Bad(node, "", "are {}, at most {}", array.size(), kMaxFaults);
  size_t number = 0;
  uint32_t rots = 0;
  for (const toml::node& element : array) {
    FaultParser parser(*element.as_table(), ++number, source, options);
    TENURE_ASSIGN_OR_RETURN(const Fault fault, parser.Parse());
    rots += fault.kind == FaultKind::kRot ? 1 : 0;
    if (rots > kMaxRots)
      return place.Bad(element, "", "rot: at most {} a run; {}", kMaxRots, SpecOf(fault.kind).bound);
    if (rots > 0 && options.spares > 0)
      return place.Bad(element, "", "rot: not together with cluster.spares, whose disks are lost too");
    options.plan->push_back(fault);
  }
  return OkStatus();
}

}  // namespace

StatusOr<SimOptions> ParseScenario(std::string_view text, const std::string& source) {
  SimOptions options;
  options.plan.emplace();
  options.more_phases = false;
  toml::table root;
  try {
    root = toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    return Error(StatusCode::kInvalidArgument, "{} line {}: {}", source, error.source().begin.line,
                 error.description());
  }
  const Place place(source, "");
  const toml::node* faults = nullptr;
  for (const auto& [key, node] : root) {
    if (key.str() == "seed") {
      TENURE_ASSIGN_OR_RETURN(const int64_t seed, place.Number(node, "seed", 0, INT64_MAX));
      options.seed = static_cast<uint64_t>(seed);
    } else if (key.str() == "fault") {
      faults = &node;
    } else if (node.is_table()) {
      const auto known = OptionFields();
      const std::string section(key.str());
      if (std::none_of(known.begin(), known.end(),
                       [&](const auto& field) { return field.section == section; }))
        return place.Bad(node, section, "is unknown; tables: cluster workload run network disk clock fault");
      TENURE_RETURN_IF_ERROR(ParseSection(*node.as_table(), section, source, options));
    } else {
      return place.Bad(node, key.str(), "is unknown; on top there is only seed");
    }
  }
  if (faults != nullptr) TENURE_RETURN_IF_ERROR(ParseFaults(*faults, source, options));
  const auto rots = std::count_if(options.plan->begin(), options.plan->end(),
                                  [](const Fault& fault) { return fault.kind == FaultKind::kRot; });
  const auto at = [&root](std::string_view path) -> const toml::node& {
    const toml::node* const node = root.at_path(path).node();
    return node == nullptr ? root : *node;
  };
  if (options.processes % 2 == 0)
    return place.Bad(at("cluster.processes"), "cluster.processes", "is {}: controllers are an odd number",
                     options.processes);
  if (options.recovery && (options.processes != 3 || options.spares + options.data_nodes > 0 || rots > 0))
    return place.Bad(at("run.recovery"), "run.recovery",
                     "needs 3 processes that keep their replicas: no spares, no data nodes, no rot");
  if (options.links.min_delay > options.links.max_delay)
    return place.Bad(at("network.min_delay_us"), "network.min_delay_us", "is above max_delay_us");
  if (options.disks.min_sync > options.disks.max_sync)
    return place.Bad(at("disk.min_sync_us"), "disk.min_sync_us", "is above max_sync_us");
  return options;
}

std::string FormatScenario(const SimOptions& options) {
  const SimOptions defaults;
  std::string text = fmt::format("seed = {}\n", options.seed);
  std::string_view section;
  for (const OptionField& field : OptionFields()) {
    const int64_t value = field.get(options);
    const bool boolean = field.min == 0 && field.max == 1;
    // In a scenario the default of this one is another one.
    if (value == field.get(defaults) && field.key != "more_phases") continue;
    if (field.section != section) text += fmt::format("\n[{}]\n", field.section);
    section = field.section;
    text += boolean ? fmt::format("{} = {}\n", field.key, value != 0)
                    : fmt::format("{} = {}\n", field.key, value);
  }
  for (const Fault& fault : PlanOf(options)) {
    const FaultSpec& spec = SpecOf(fault.kind);
    text += fmt::format("\n[[fault]]\nat_ms = {}\nkind = \"{}\"\n", ToMillis(fault.at), spec.name);
    if (fault.machine == kLeaderMachine) {
      text += "machine = \"leader\"\n";
    } else if (spec.target != FaultSpec::Target::kNone) {
      text += fmt::format("machine = {}\n", fault.machine + 1);
    }
    if (spec.target == FaultSpec::Target::kLink) text += fmt::format("other = {}\n", fault.other + 1);
    if (!spec.value.empty()) text += fmt::format("{} = {}\n", spec.value, fault.value);
    if (spec.lasts) text += fmt::format("length_ms = {}\n", ToMillis(fault.length));
  }
  return text;
}

}  // namespace tenure::sim
