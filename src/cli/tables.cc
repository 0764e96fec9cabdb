#include "cli/tables.h"

#include <fmt/format.h>

#include "cli/output.h"

namespace tenure::cli {

std::string ControllersTable(
    const google::protobuf::RepeatedPtrField<tenure::v1::ControllerStatus>& controllers) {
  Table table({"CONTROLLER", "NAME", "ADDRESS", "ROLE", "STATE", "MATCH"});
  for (const auto& controller : controllers) {
    table.AddRow({IdText(controller.record().id()), controller.record().name(), controller.record().address(),
                  std::string(controller.record().voter() ? "voter" : "learner") +
                      (controller.record().state() == tenure::v1::CONTROLLER_REMOVING ? ", removing" : ""),
                  controller.state(),
                  controller.match_index() == 0 ? "-" : IdText(controller.match_index())});
  }
  return table.ToString();
}

std::string StateWithDetail(const tenure::v1::NodeStatus& node) {
  return node.detail().empty() ? node.state() : fmt::format("{} ({})", node.state(), node.detail());
}

std::string LeaseText(const tenure::v1::NodeStatus& node) {
  if (node.last_heard_ms() < 0) return "-";
  if (node.fenced()) {
    return fmt::format("fenced for {}",
                       FormatMillis(static_cast<double>(node.fenced_ms() + node.last_heard_ms())));
  }
  const int64_t left = node.lease_ms() - node.last_heard_ms();
  return left > 0 ? FormatMillis(static_cast<double>(left)) : std::string("run out");
}

std::string NodesTable(const google::protobuf::RepeatedPtrField<tenure::v1::NodeStatus>& nodes) {
  Table table({"NODE", "NAME", "ADDRESS", "REDIS PROTOCOL", "STATE", "LEASE", "REVISION", "REGIONS",
               "LEADERS", "HEARD"});
  for (const auto& node : nodes) {
    table.AddRow({IdText(node.record().id()), node.record().name(), node.record().address(),
                  node.record().resp_address(), StateWithDetail(node), LeaseText(node),
                  IdText(node.revision()), IdText(node.regions()), IdText(node.leaders()),
                  node.last_heard_ms() < 0
                      ? "never"
                      : FormatMillis(static_cast<double>(node.last_heard_ms())) + " ago"});
  }
  return table.ToString();
}

}  // namespace tenure::cli
