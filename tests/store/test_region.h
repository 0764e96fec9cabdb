// A region on a map, driven by lines of text, and the check of its invariants.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/region_store.h"
#include "tests/store/map_view.h"

namespace tenure::store {

// Words of a line; "in quotes" with \xNN, \n, \r, \" and \\ for what a word cannot hold.
Arguments Words(std::string_view line);
std::string Quoted(std::string_view bytes);
// As redis-cli prints it, in one line: OK, (integer) 1, "text", (nil), (error) ERR ..., [a, b], {k: v}.
std::string Show(const Reply& reply);
std::string ShowCommand(const Arguments& arguments);

// S1 to S3 of region_store.h, S6 of schema_state.h, S7 and S8 of row_state.h; failures are reported to the
// running test.
void CheckInvariants(const MapView& state);

struct TestRegion {
  RegionStore store{SlotRange{0, 16383}};
  MapView state;
  WallTime now = WallFromMillis(1'000'000);
  LogIndex index{0};

  // Validated, then read or applied, as a node would.
  Reply Run(const Arguments& arguments);
  Reply Run(std::string_view line) { return Run(Words(line)); }
  std::string Ask(std::string_view line) { return Show(Run(line)); }
  Reply Transaction(const std::vector<std::string>& lines, std::vector<WatchedKey> watches = {});
  int64_t Sweep(uint32_t limit);

  // Lines: "> command" is run, the next line is the expected reply; "@ 1500" sets the time to 1500 ms; "+
  // 1500" lets so many ms pass. Other lines are comments. Invariants are checked after every command.
  void Script(std::string_view script);
};

}  // namespace tenure::store
