#include "sim/leftovers.h"

#include <charconv>
#include <string_view>
#include <system_error>

#include "base/codec.h"
#include "base/format.h"
#include "sim/server.h"
#include "sim/world.h"

namespace tenure::sim {

std::string FindLeftover(const Machine& machine, const std::function<bool(GroupId)>& has_place) {
  for (const GroupId group : machine.server->node()->groups().groups()) {
    if (!has_place(group)) return fmt::format("region {} to run no more on {}", group, machine.name);
  }
  // Keys begin with the group's id.
  for (const auto state = machine.server->engine().NewIterator({}, {}); state->Valid();) {
    const GroupId group(GetBigEndian64(state->key().data()));
    if (group != kCatalogGroup && !has_place(group))
      return fmt::format("the state of region {} to go from {}", group, machine.name);
    std::string next;
    PutBigEndian64(next, group.value() + 1);
    state->Seek(next);
  }
  for (const std::string& path : machine.disk.Paths()) {
    const std::string_view name = std::string_view(path).substr(path.rfind('/') + 1);
    uint64_t id = 0;
    const bool of_group = path.find("/snapshots/") != std::string::npos &&
                          std::from_chars(name.data(), name.data() + name.size(), id).ec == std::errc();
    if (of_group && GroupId(id) != kCatalogGroup && !has_place(GroupId(id)))
      return fmt::format("{} to go from {}", path, machine.name);
  }
  return {};
}

}  // namespace tenure::sim
