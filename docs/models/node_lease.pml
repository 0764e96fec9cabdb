/* Node leases, self-fencing and barriers: src/node/lease/, src/controller/leases/, src/controller/barriers/ (one node,
 * a succession of leaders).
 *
 * As the code has it: a heartbeat names no view newer than that of the oldest request in flight (ViewsInUse), and
 * none while the node is fenced; a result leaves if the lease is valid and no recovery happened since its request began.
 * tests/fencing plays the same rules by chance with the classes of the program.
 *
 * Leaders are named by their epoch 1..MAXE.  It is taken as given that the leader lease of epoch e has ended, for
 * good, before epoch e+1 begins.  A leader that has lost its lease does not know it at once and may go on running; only
 * the rules hold it back.
 *
 * Time: each tick lowers every timer; the node's clock may miss one tick in TF+1 (drift).  Steps take
 * no time and any number of ticks may pass between two steps: pauses and slow networks.  The last two
 * heartbeats with their grants, the last pull and the last "I am fenced" stay in the network: they
 * may be lost, delayed, repeated and reordered.
 *
 * The catalog is its revision.  Property: when a result leaves the node, the view it came from is not
 * older than any revision for which a barrier has proceeded.
 * Liveness (-DLIVE): from every reachable state, a run without faults brings the node back to
 * serving the newest revision, and the barrier for it passes by acknowledgement.
 *
 * Options (spin -D): MAXE, MAXREV; STALE keeps deposed leaders running (without a lease they do
 * nothing that counts, so they are dropped otherwise); LAG lets followers feed the node's watch with
 * what the leader has committed but not yet applied; FIXED starts with the node registered for good.
 *
 * Mutants (spin -D):
 *   M_NO_LEADER_LEASE       grants are given without a leader lease
 *   M_VERDICT_NO_LEASE      a barrier's verdict counts although the leader lease has ended
 *   M_ACKED_NO_LEASE        the same, but only for a verdict that rests on acknowledgements alone
 *   M_GRANT_BEFORE_NOOP     a new leader grants before it has applied the first entry of its epoch
 *   M_LEASE_FROM_RECEIPT    a node counts its lease from the receipt of the grant
 *   M_OLD_CONTACTS          a new leader counts silence from a contact time older than its leadership
 *   M_NO_MARGIN             T_proceed = T_fence
 *   M_OLD_GRANT             grants of epochs older than one already seen are taken
 *   M_NOLEASE_OLD_GRANT     M_NO_LEADER_LEASE and M_OLD_GRANT together
 *   M_LATE_GRANT_RENEWS     a grant that arrives after expiry renews the lease, and no pull is made
 *   M_PULL_UNCHECKED        a pulled snapshot is used whatever its revision
 *   M_PULL_ANYWHERE         a leader answers a pull without holding its lease
 *   M_PULL_BOTH             M_PULL_UNCHECKED and M_PULL_ANYWHERE together
 *   M_LEASE_FROM_PULL       a finished pull counts as a fresh lease
 *   M_NO_EXIT_CHECK         nothing is checked when a result leaves
 *   M_REPORT_AHEAD          a heartbeat names the view held, although a request goes by an older one
 *   M_EXIT_LEASE_ONLY       only the lease is checked when a result leaves
 *   M_EXIT_NOT_SINCE_PULL   a request that began before a recovery is not refused
 *   M_FENCED_STAYS          "I am fenced" counts until the node registers again, whatever it is granted
 *   M_FENCED_UNORDERED      "I am fenced" counts although a later heartbeat was already answered
 *   M_FENCED_KEEPS_GRANTS   a node that said it is fenced still takes grants for earlier heartbeats
 *   M_FENCED_ANY_EPOCH      "I am fenced" counts although it was said under an earlier epoch
 *   M_REMOVED_AT_ONCE       a node is removed from the catalog while it may hold a lease
 *   M_REGISTERING_IGNORED   a barrier waits for the nodes known when its change was asked for
 *   M_RESTART_UNFENCED      a restart counts as a fresh contact: the node serves what it has loaded
 *   M_OLD_INCARNATION       (with LAG) a restarted node takes grants for heartbeats of its earlier life
 *   M_GO_BACK               (with LAG) a node recovers with a view older than one it has reported
 *   M_REPORT_MAX            (with LAG) the highest report ever counts, not that of the newest heartbeat
 */
#ifdef M_NOLEASE_OLD_GRANT
#define M_NO_LEADER_LEASE
#define M_OLD_GRANT
#endif
#ifdef M_PULL_BOTH
#define M_PULL_UNCHECKED
#define M_PULL_ANYWHERE
#endif
#if defined(M_NO_LEADER_LEASE) || defined(M_VERDICT_NO_LEASE) || defined(M_ACKED_NO_LEASE) || defined(M_PULL_ANYWHERE)
#define STALE
#endif
#if defined(M_REPORT_MAX) || defined(M_GO_BACK) || defined(M_OLD_INCARNATION)
#define LAG
#endif
#ifndef MAXE
#define MAXE 2
#endif
#ifndef MAXREV
#define MAXREV 2
#endif
#ifndef TF
#define TF 2                      /* T_fence, ticks of the node's clock */
#endif
#ifdef M_NO_MARGIN
#define TP TF
#else
#define TP (TF + 1)               /* T_proceed: T_fence and the drift it can bring */
#endif

/* the catalog and the leaders */
byte rev = 1;                     /* last committed revision */
byte cur = 1;                     /* epoch of the newest leader */
byte proceeded;                   /* newest revision whose barrier has proceeded */
byte known_from;                  /* epoch in which the node was registered, 0 not yet */
byte gone_from;                   /* epoch in which it was removed from the catalog, 0 not yet */
typedef Leader {
  bool alive;                     /* believes that it leads */
  bool holds;                     /* has a leader lease */
  byte applied;                   /* revision; 0 until the first entry of its epoch is applied */
  byte silence;                   /* ticks since it last answered the node, or since it began */
  byte acked;                     /* revision the node reported in this epoch */
  byte newest;                    /* newest heartbeat answered: 2 the last, 1 the one before, 0 an older one */
  bool fenced;                    /* the node said that it is fenced */
  bool later;                     /* a heartbeat later than the last "I am fenced" was answered */
  bool listed                     /* for M_REGISTERING_IGNORED */
}
Leader l[MAXE + 1];

/* the node */
byte seen;                        /* highest epoch */
byte view;                        /* catalog revision held; 0 none */
bool fenced = true;
byte lease;                       /* ticks left; 0 expired */
byte need;                        /* revision of the grant that began the present unbroken lease, or
                                     `told`, if that is newer */
#ifdef LAG
byte told;                        /* highest revision reported in this incarnation */
#else
#define told 0
#endif
byte request;                     /* view from which a request is being served, 0 none */
bool outdated;                    /* since it began, the node recovered */
byte steady = TF;                 /* ticks since the node's clock last missed one */

/* the network */
typedef Heartbeat {
  bool sent;
  byte age;                       /* on the node's clock; TF: too old for a lease */
  byte report;                    /* revision held */
  byte epoch;                     /* highest epoch seen */
  bool after;                     /* sent after the last "I am fenced" */
  byte grant;                     /* epoch of the answer, 0 none */
  byte at                         /* revision of the answer */
}
Heartbeat h[2];                   /* the newest first */
byte pull;                        /* 0 none, 1 asked, 2 answered */
byte pulled;                      /* revision of the answer */
byte said;                        /* 1 + epoch under which "I am fenced" was said, 0 not said */

/* ---- leader ---- */

#define KNOWN(e) (known_from > 0 && (e) >= known_from && (gone_from == 0 || (e) < gone_from))
#define SILENT(e) (l[e].silence >= TP || l[e].fenced)
#ifdef M_REGISTERING_IGNORED
#define COUNTED(e) (KNOWN(e) && l[e].listed)
#else
#define COUNTED(e) KNOWN(e)
#endif
#define PASSES(e) (!COUNTED(e) || l[e].acked >= l[e].applied || SILENT(e))
#if defined(M_VERDICT_NO_LEASE)
#define MAY_JUDGE(e) true
#elif defined(M_ACKED_NO_LEASE)
#define MAY_JUDGE(e) (l[e].holds || !COUNTED(e) || l[e].acked >= l[e].applied)
#else
#define MAY_JUDGE(e) l[e].holds
#endif
#ifdef M_GRANT_BEFORE_NOOP
#define READY(e) true
#else
#define READY(e) (l[e].applied > 0)
#endif
#ifdef M_NO_LEADER_LEASE
#define MAY_GRANT(e) true
#else
#define MAY_GRANT(e) l[e].holds
#endif
#ifdef M_REMOVED_AT_ONCE
#define MAY_REMOVE(e) true
#else
#define MAY_REMOVE(e) (l[e].holds && SILENT(e))
#endif
#ifdef M_FENCED_ANY_EPOCH
#define SAID_TO(e) true
#else
#define SAID_TO(e) (said == e + 1)
#endif
#ifdef M_FENCED_UNORDERED
#define IN_ORDER(e) true
#else
#define IN_ORDER(e) (!l[e].later)
#endif
#ifdef M_PULL_ANYWHERE
#define MAY_SERVE_PULL(e) true
#else
#define MAY_SERVE_PULL(e) l[e].holds
#endif

inline resign(e) {
  l[e].alive = false; l[e].holds = false; l[e].applied = 0; l[e].silence = 0; l[e].acked = 0; l[e].newest = 0;
  l[e].fenced = false; l[e].later = false; l[e].listed = false
}

inline elect() {
  cur++; l[cur].alive = true;
#ifdef M_OLD_CONTACTS
  l[cur].silence = TP;
#endif
#ifndef STALE
  resign(cur - 1);
#endif
  printf("leader %d is elected\n", cur)
}

#define HEARS(e, k) (l[e].alive && READY(e) && KNOWN(e) && MAY_GRANT(e) && h[k].sent && h[k].epoch <= e)

inline heed(e, k) {
#if defined(LAG) && !defined(M_REPORT_MAX)
  if
  :: 2 - k >= l[e].newest -> l[e].newest = 2 - k; l[e].acked = (h[k].epoch == e -> h[k].report : 0)
  :: else
  fi
#else
  if :: h[k].epoch == e && h[k].report > l[e].acked -> l[e].acked = h[k].report :: else fi
#endif
}

inline answer(e, k) {             /* a heartbeat arrives: contact time, report, grant */
  l[e].silence = 0;
#ifndef M_FENCED_STAYS
  l[e].fenced = false;
#endif
  if :: h[k].after -> l[e].later = true :: else fi;
  heed(e, k);
  if :: h[k].age < TF -> h[k].grant = e; h[k].at = l[e].applied :: else fi;
  printf("leader %d answers heartbeat %d (report %d) with a grant at revision %d\n", e, k, h[k].report, l[e].applied)
}

#ifdef LAG
#define COMMIT(e) rev++
#define CAN_COMMIT(e) (l[e].applied == rev)
#else
#define COMMIT(e) rev++; l[e].applied = rev
#define CAN_COMMIT(e) (l[e].applied > 0)
#endif

proctype LeaderOf(byte e) {
  do
  :: atomic { e == cur && l[e].alive && l[e].applied == 0 -> l[e].applied = rev; printf("leader %d applies its first entry, revision %d\n", e, rev) }
  :: atomic { e == cur && l[e].alive && (READY(e)) && !l[e].holds -> l[e].holds = true; printf("leader %d holds its lease\n", e) }
  :: atomic { l[e].holds -> l[e].holds = false; printf("leader %d loses its lease\n", e) }
  :: atomic { l[e].alive -> resign(e); printf("leader %d steps down\n", e) }
  :: atomic { e == cur && CAN_COMMIT(e) && l[e].applied > 0 && rev < MAXREV -> COMMIT(e); printf("leader %d commits revision %d\n", e, rev) }
#ifdef LAG
  :: atomic { e == cur && l[e].applied > 0 && l[e].applied < rev -> l[e].applied = rev; printf("leader %d applies revision %d\n", e, rev) }
#endif
#ifndef FIXED
  :: atomic { e == cur && l[e].applied > 0 && known_from == 0 -> known_from = e; printf("the node registers with leader %d\n", e) }
  :: atomic { e == cur && l[e].applied > 0 && KNOWN(e) && MAY_REMOVE(e) -> gone_from = e; printf("leader %d removes the node\n", e) }
#endif
  :: atomic { HEARS(e, 0) -> answer(e, 0) }
  :: atomic { HEARS(e, 1) -> answer(e, 1) }
  :: atomic { l[e].alive && said > 0 && !l[e].fenced && SAID_TO(e) && IN_ORDER(e) -> l[e].fenced = true; printf("leader %d learns that the node is fenced\n", e) }
  :: atomic { l[e].alive && l[e].applied > 0 && pull == 1 && MAY_SERVE_PULL(e) -> pull = 2; pulled = l[e].applied; printf("leader %d answers the pull with revision %d\n", e, pulled) }
#ifdef M_REGISTERING_IGNORED
  :: atomic { l[e].alive && l[e].applied > 0 && l[e].listed != KNOWN(e) -> l[e].listed = KNOWN(e); printf("leader %d is asked for a change\n", e) }
#endif
  :: atomic { l[e].alive && l[e].applied > proceeded && MAY_JUDGE(e) && PASSES(e) ->
              proceeded = l[e].applied; printf("leader %d: the barrier for revision %d proceeds\n", e, proceeded) }
  od
}

proctype Elections() {
  do
  :: atomic { cur < MAXE && !l[cur].holds -> elect() }
  od
}

/* ---- node ---- */

inline kill_grant(k) { h[k].age = TF; h[k].grant = 0; h[k].at = 0 }   /* no lease can come of it any more */

inline lose_view() { view = 0; fenced = true; need = 0 }

#if defined(M_REPORT_AHEAD)
#define HELD view
#else
#define HELD (request > 0 && request < view -> request : view)
#endif
#define REPORT (!fenced && lease > 0 -> HELD : 0)

inline beat() {
  d_step {
    h[1].sent = h[0].sent; h[1].age = h[0].age; h[1].report = h[0].report; h[1].epoch = h[0].epoch;
    h[1].after = h[0].after; h[1].grant = h[0].grant; h[1].at = h[0].at;
    h[0].sent = true; h[0].age = 0; h[0].report = REPORT; h[0].epoch = seen;
    h[0].after = true; h[0].grant = 0; h[0].at = 0;
#if defined(LAG) && !defined(M_REPORT_MAX)
    l[1].newest = l[1].newest / 2; l[MAXE].newest = (MAXE > 1 -> l[MAXE].newest / 2 : l[MAXE].newest);
#endif
#ifdef LAG
    if :: h[0].report > told -> told = h[0].report :: else fi;
#endif
    printf("the node sends a heartbeat, reporting %d under epoch %d\n", h[0].report, seen)
  }
}

#ifdef M_LEASE_FROM_RECEIPT
#define LEFT(k) TF
#else
#define LEFT(k) (TF - h[k].age)
#endif
#ifdef M_OLD_GRANT
#define CURRENT(k) true
#else
#define CURRENT(k) (h[k].grant >= seen)
#endif
#define TAKES(k) (h[k].grant > 0 && CURRENT(k) && (LEFT(k) > lease || h[k].grant > seen))

#ifdef M_GO_BACK
#define AT_LEAST(k) h[k].at
#else
#define AT_LEAST(k) (h[k].at > told -> h[k].at : told)
#endif

inline take(k) {                  /* a grant arrives */
  if :: h[k].grant > seen -> seen = h[k].grant :: else fi;
#ifdef M_LATE_GRANT_RENEWS
  if :: lease == 0 && fenced -> need = h[k].at :: else fi;
#else
  if :: lease == 0 -> lose_view(); need = AT_LEAST(k) :: else fi;
#endif
  if :: LEFT(k) > lease -> lease = LEFT(k) :: else fi;
  printf("the node takes the grant of leader %d for heartbeat %d: lease %d\n", h[k].grant, k, lease)
}

inline say_fenced() {
  lose_view(); lease = 0; said = seen + 1;
  h[0].after = false; h[1].after = false;
#ifndef M_FENCED_KEEPS_GRANTS
  kill_grant(0); kill_grant(1);
#endif
  l[1].later = false; l[MAXE].later = false;
  printf("the node fences itself and says so\n")
}

inline unfence() {
  view = pulled; fenced = false; need = 0; pull = 0; pulled = 0;
#ifdef M_LEASE_FROM_PULL
  lease = TF;
#endif
#ifndef M_EXIT_NOT_SINCE_PULL
  outdated = (request > 0);
#endif
  printf("the node unfences with revision %d\n", view)
}

inline restart() {
#ifdef M_RESTART_UNFENCED
  lease = TF;
#else
  lose_view(); lease = 0;
#endif
#ifdef LAG
  told = 0;
#endif
  seen = 0; request = 0; outdated = false; pull = 0; pulled = 0;
#ifndef M_OLD_INCARNATION
  kill_grant(0); kill_grant(1);
#endif
  printf("the node restarts\n")
}

#ifdef M_PULL_UNCHECKED
#define FRESH true
#else
#define FRESH (pulled >= need)
#endif

#if defined(M_NO_EXIT_CHECK)
#define MAY_LEAVE true
#elif defined(M_EXIT_LEASE_ONLY)
#define MAY_LEAVE (!fenced && lease > 0)
#else
#define MAY_LEAVE (!fenced && lease > 0 && !outdated)
#endif

proctype Node() {
  do
  :: atomic { beat() }
  :: atomic { TAKES(0) -> take(0) }
  :: atomic { TAKES(1) -> take(1) }
  :: atomic { seen > 0 -> say_fenced() }               /* because the lease ran out, or to stop */
  /* recovery */
  :: atomic { fenced && pull == 0 && lease > 0 -> pull = 1; printf("the node asks for a snapshot\n") }
  :: atomic { fenced && pull == 2 && lease > 0 && FRESH -> unfence() }
  :: atomic { pull == 2 && (!fenced || pulled < need) -> pull = 0; pulled = 0 }
  /* the watch */
  :: atomic { view > 0 && view < rev -> view++; printf("the node applies revision %d\n", view) }
  /* a request: check, read, check, answer */
  :: atomic { !fenced && lease > 0 && request == 0 -> request = view; printf("a request begins with view %d\n", view) }
  :: atomic { request > 0 && MAY_LEAVE -> printf("its result from view %d leaves\n", request);
              assert(request >= proceeded); request = 0; outdated = false }
  :: atomic { request > 0 -> request = 0; outdated = false }
  :: atomic { restart() }
  od
}

inline older(k) {
  if
  :: h[k].sent && h[k].age < TF -> h[k].age++;
#ifndef M_LEASE_FROM_RECEIPT
       if :: h[k].age == TF -> kill_grant(k) :: else fi
#endif
  :: else
  fi
}
inline silent(e) { l[e].silence = (l[e].alive && l[e].silence < TP -> l[e].silence + 1 : l[e].silence) }
inline node_tick() {
  older(0); older(1); lease = (lease > 0 -> lease - 1 : 0); need = (lease > 0 -> need : 0)
}
inline leaders_tick() {
  silent(1);
#if MAXE > 1
  silent(2);
#endif
#if MAXE > 2
  silent(3);
#endif
}

proctype Clock() {
  do
  :: d_step { leaders_tick(); node_tick(); steady = (steady < TF -> steady + 1 : TF); printf("tick\n") }
  :: d_step { steady == TF -> leaders_tick(); steady = 0; printf("tick, missed by the node\n") }
  od
}

#ifdef LIVE
/* no faults any more: three heartbeat rounds */
inline round() {
  beat();
  answer(cur, 0);
  if :: TAKES(0) -> take(0) :: else fi;
  if :: pull == 2 && (!fenced || pulled < need) -> pull = 0; pulled = 0 :: else fi;
  if :: fenced && pull == 0 && lease > 0 -> pull = 1 :: else fi;
  if :: pull == 1 -> pull = 2; pulled = l[cur].applied :: else fi;
  if :: fenced && pull == 2 && lease > 0 && FRESH -> unfence() :: else fi;
  do :: view > 0 && view < rev -> view++ :: else -> break od;
  leaders_tick(); node_tick(); steady = (steady < TF -> steady + 1 : TF)
}

proctype Calm() {
  do
  :: atomic { gone_from == 0 && (l[cur].alive || cur < MAXE) ->
       if :: !l[cur].alive -> elect() :: else fi;
       l[cur].applied = rev; l[cur].holds = true;
       if :: known_from == 0 -> known_from = cur :: else fi;
       request = 0; outdated = false;
       round(); round(); round();
       beat(); answer(cur, 0);
       assert(!fenced && lease > 0 && view == rev);
       assert(l[cur].acked >= l[cur].applied) }
  od
}
#endif

init {
  atomic {
    l[1].alive = true;
#ifdef FIXED
    known_from = 1;
#endif
    if                            /* from nothing, or from a node that serves (which shortens traces) */
    :: skip
    :: known_from = 1; l[1].applied = 1; l[1].holds = true; seen = 1; view = 1; fenced = false; lease = TF;
       printf("leader 1 leads, the node serves with view 1\n")
    fi;
    run LeaderOf(1);
#if MAXE > 1
    run LeaderOf(2);
#endif
#if MAXE > 2
    run LeaderOf(3);
#endif
#ifdef LIVE
    run Calm();
#endif
    run Elections(); run Node(); run Clock()
  }
}
