#include "resp/reply_writer.h"

#include <gtest/gtest.h>

namespace tenure::resp {
namespace {

using store::Reply;

std::string Written(const Reply& reply, int protocol) {
  std::string out;
  ReplyWriter(out, protocol).Write(reply);
  return out;
}

TEST(ReplyWriter, EveryKindInBothProtocols) {
  Reply set = Reply::Array({Reply::Bulk("a")});
  set.kind = Reply::Kind::kSet;
  Reply number;
  number.kind = Reply::Kind::kDouble;
  number.text = "1.5";
  Reply yes;
  yes.kind = Reply::Kind::kBoolean;
  yes.integer = 1;
  struct Case {
    Reply reply;
    const char* resp2;
    const char* resp3;
  };
  const Case cases[] = {
      {Reply::Ok(), "+OK\r\n", "+OK\r\n"},
      {Reply::Error("ERR no"), "-ERR no\r\n", "-ERR no\r\n"},
      {Reply::Error("ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n"},
      {Reply::Integer(0), ":0\r\n", ":0\r\n"},
      {Reply::Integer(INT64_MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"},
      {Reply::Bulk(""), "$0\r\n\r\n", "$0\r\n\r\n"},
      {Reply::Bulk("a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"},
      {Reply::Null(), "$-1\r\n", "_\r\n"},
      {Reply::Array({}), "*0\r\n", "*0\r\n"},
      {Reply::Array({Reply::Integer(1), Reply::Array({Reply::Null()})}), "*2\r\n:1\r\n*1\r\n$-1\r\n",
       "*2\r\n:1\r\n*1\r\n_\r\n"},
      {Reply::Map({Reply::Bulk("f"), Reply::Bulk("v")}), "*2\r\n$1\r\nf\r\n$1\r\nv\r\n",
       "%1\r\n$1\r\nf\r\n$1\r\nv\r\n"},
      {set, "*1\r\n$1\r\na\r\n", "~1\r\n$1\r\na\r\n"},
      {number, "$3\r\n1.5\r\n", ",1.5\r\n"},
      {yes, ":1\r\n", "#t\r\n"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Written(c.reply, 2), c.resp2);
    EXPECT_EQ(Written(c.reply, 3), c.resp3);
  }
}

TEST(ReplyWriter, NullArrayAndVerbatim) {
  std::string out;
  ReplyWriter(out, 2).NullArray();
  ReplyWriter(out, 3).NullArray();
  ReplyWriter(out, 2).Verbatim("hi");
  ReplyWriter(out, 3).Verbatim("hi");
  EXPECT_EQ(out, "*-1\r\n_\r\n$2\r\nhi\r\n=6\r\ntxt:hi\r\n");
}

}  // namespace
}  // namespace tenure::resp
