/* The length of leases and its bound: src/catalog/fencing.h, src/node/lease/node_lease.cc,
 * src/controller/leases/node_contacts.cc (one node, a succession of leaders).
 *
 *   1 the catalog keeps `bound` beside the setting: raised with it, lowered by a change of its own once the node
 *     has confirmed this version (LowerFencingBound names the version);
 *   2 a grant of an older version counts with the smaller of the two lengths;
 *   3 a heartbeat confirms a version only while the lease held is not longer than it says;
 *   4 the mode `available` is in the bound, too: while a node may go by it, silence proves nothing; by it the
 *     node serves whatever its lease is, but not after it was fenced by strict settings.
 *
 * Property: when a leader takes the node for fenced, it serves nothing, and it serves nothing afterwards before it
 * has pulled the catalog.
 *
 * Mutants (spin -D):
 *   M_LOWER_AT_ONCE         silence is counted against the setting, not the bound
 *   M_KEEP_LONGER           a version is confirmed while a longer lease is held
 *   M_OLD_GRANT_LONGER      a grant of an older version counts with the length it carries
 *   M_NO_VERSION            a confirmation of any version counts
 *   M_AVAILABLE_UNBOUND     the mode is not in the bound
 *   M_AVAILABLE_REVIVES     a node that was fenced by strict settings serves at once when it hears of `available`
 */
#define LONG 3
#define SHORT 1
#define MAX 4                     /* LONG and one tick of drift */
#define MAXV 4
#define T(v) ((v) % 2 == 0 -> LONG : SHORT)
#define FREE(v) ((v) % 4 == 2)    /* versions whose mode is `available` */

byte ver;                         /* catalog: version of the setting */
byte bound = LONG;                /* catalog */
bool bound_free;                  /* catalog: somebody may go by `available` */
byte silence;                     /* leader */
bool confirmed;                   /* leader */
bool taken;                       /* a leader took the node for fenced, and it has not pulled since */

byte lease;                       /* node: ticks left */
byte seen;                        /* node: newest version */
bool has_view = true;             /* node: recovered, and not fenced since */
byte steady = LONG;

typedef Heartbeat { bool sent; byte age; byte confirms; byte grant }   /* 1 + version; 0 none */
Heartbeat h[2];

#define SERVES (has_view && (FREE(seen) || lease > 0))
#ifdef M_LOWER_AT_ONCE
#define COUNTED T(ver)
#else
#define COUNTED bound
#endif
#ifdef M_AVAILABLE_UNBOUND
#define PROVES (!FREE(ver))
#else
#define PROVES (!bound_free)
#endif
#ifdef M_NO_VERSION
#define CONFIRMS(k) (h[k].confirms > 0)
#else
#define CONFIRMS(k) (h[k].confirms == ver + 1)
#endif

inline answer(k) {
  atomic { h[k].sent -> silence = 0; h[k].grant = ver + 1;
    if :: CONFIRMS(k) -> confirmed = true :: else fi;
    printf("the leader answers heartbeat %d by version %d\n", k, ver) }
}

proctype Leader() {
  do
  :: answer(0)
  :: answer(1)
  :: atomic { ver < MAXV -> ver++; confirmed = false;
              if :: T(ver) > bound -> bound = T(ver) :: else fi;
              bound_free = bound_free || FREE(ver);
              printf("version %d: T_fence %d\n", ver, T(ver)) }
  :: atomic { confirmed && (bound > T(ver) || bound_free != FREE(ver)) ->
              bound = T(ver); bound_free = FREE(ver); printf("the bound becomes %d\n", bound) }
  :: atomic { silence = 0; confirmed = false; printf("a new leader\n") }
  :: atomic { PROVES && silence > COUNTED && !taken -> taken = true; printf("the leader takes the node for fenced\n"); assert(!SERVES) }
  od
}

#ifdef M_KEEP_LONGER
#define SURE true
#else
#define SURE (lease <= T(seen))
#endif
#ifdef M_OLD_GRANT_LONGER
#define LENGTH(v) T(v)
#else
#define LENGTH(v) (T(v) < T(seen) -> T(v) : T(seen))
#endif

inline beat() {
  h[1].sent = h[0].sent; h[1].age = h[0].age; h[1].confirms = h[0].confirms; h[1].grant = h[0].grant;
  h[0].sent = true; h[0].age = 0; h[0].confirms = (SURE -> seen + 1 : 0); h[0].grant = 0;
  printf("the node sends a heartbeat, version %d, lease %d\n", seen, lease)
}

/* As OnGrant: what was fenced by strict settings has no view any more, whatever is heard now, be it too late for a
 * lease; then the pull. */
inline take(k) {
  atomic { h[k].grant > 0 ->
    free = FREE(seen);
    if :: h[k].grant - 1 > seen -> seen = h[k].grant - 1 :: else fi;
    t = LENGTH(h[k].grant - 1); t = (t > h[k].age -> t - h[k].age : 0);
    if :: lease == 0 ->
#ifndef M_AVAILABLE_REVIVES
          has_view = has_view && free
#else
          skip
#endif
       :: else fi;
    if :: t > lease -> lease = t :: else fi;
    printf("the node takes the grant for heartbeat %d, version %d: lease %d\n", k, h[k].grant - 1, lease);
    h[k].grant = 0; t = 0; free = false; assert(!(taken && SERVES)) }
}

proctype Node() {
  byte t; bool free;
  do
  :: atomic { beat() }
  :: take(0)
  :: take(1)
  :: atomic { lease > 0 && (!has_view || taken) -> has_view = true; taken = false; printf("the node has pulled the catalog\n") }
  od
}

inline older(k) { h[k].age = (h[k].sent && h[k].age < MAX -> h[k].age + 1 : h[k].age) }

proctype Clock() {
  do
  :: d_step { silence = (silence <= MAX -> silence + 1 : silence); older(0); older(1); lease = (lease > 0 -> lease - 1 : 0);
              steady = (steady < LONG -> steady + 1 : LONG); printf("tick\n") }
  :: d_step { steady == LONG -> silence = (silence <= MAX -> silence + 1 : silence); steady = 0; printf("tick, missed by the node\n") }
  od
}

init { atomic { run Leader(); run Node(); run Clock() } }
