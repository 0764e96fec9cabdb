// A change of a table as a statement, for people and for consumers of changefeeds.
//
// Threading: pure functions; deterministic, so that they may run where a log is applied.
#pragma once

#include <string>

#include "tenure/v1/catalog.pb.h"

namespace tenure::schema {

// "ALTER TABLE orders ADD COLUMN note text NULL, DROP COLUMN state, RENAME COLUMN a TO b, SET TTL 5000,
// RENAME TO sales". What `after` has in another form than `before`, by the ids of columns.
std::string AlterStatement(const ::tenure::v1::TableShape& before, const ::tenure::v1::TableShape& after);
std::string CreateStatement(const ::tenure::v1::TableShape& shape);
std::string DropStatement(const ::tenure::v1::TableShape& shape);

}  // namespace tenure::schema
