/* Ownership epochs of a changefeed: at most one writer of a span, whatever is delayed or repeated.
 * src/changefeed/protocol/, src/changefeed/coordinator/, src/changefeed/maintainer/.
 *
 * One feed with one span, two nodes, leaders that come and go.  Every change of owner and every stop
 * raises the epoch in the catalog.  The rules:
 *   1 the new epoch is committed together with its owner (node and incarnation); then a BARRIER for
 *     that revision passes (every node has it in its view of the catalog, or is fenced and will pull
 *     a view at least that new); then `add` leaves, or a stop is complete;
 *   2 a node accepts a message only for the epoch in its own view of the catalog; a dispatcher
 *     compares its epoch with that view, and looks at the lease, at the last step before the wire;
 *   3 a maintainer runs once per epoch and never again once it has ended: by stop, error or fencing;
 *   4 a maintainer first boots a node and learns its incarnation; create and remove name it and carry
 *     a sequence number, and the node takes only higher ones; a span moves within an epoch only when
 *     its old dispatcher is confirmed gone.
 * node_lease.pml proves what is used here as one step: a fenced node serves nothing, and unfences
 * only with a view as new as the newest barrier that passed without it.
 *
 * Everything ever sent stays in the network: delayed, lost, repeated, reordered.
 * A write carries (epoch, sequence number of the create that made its writer).
 * Properties: writes at the sink never go back in that order; no write of an epoch below a stop
 * that was reported complete.
 * Liveness (spin -DLIVE): from every reachable state, a run without faults ends with one live writer
 * of the current epoch if the feed runs, and with none if it is stopped.
 *
 * Options (spin -D): MAXEP, MAXQ, MAXINC; CLEAR takes the messages of earlier epochs out of the network
 * once the barrier of a later one has passed (by rule 2 nobody accepts them; saves states).
 *
 * Mutants (spin -D):
 *   M_ADD_BEFORE_BARRIER    `add` leaves when the epoch is committed, not after the barrier
 *   M_WRITE_LEASE_ONLY      a dispatcher looks only at the lease before the wire
 *   M_WRITE_NO_LEASE        a dispatcher looks only at the epoch before the wire
 *   M_FLOOR_BY_RECORD       a node compares the epochs of messages with what it runs, not with its view
 *   M_RECORD_ONLY           the same, and so does a dispatcher before the wire
 *   M_RESTART_IN_EPOCH      a node starts a maintainer again in an epoch in which one has ended
 *   M_ADD_ANY_INCARNATION   `add` does not name the incarnation it is meant for
 *   M_CREATE_ANY_INCARNATION create and remove do not name the incarnation they are meant for
 *   M_NO_SEQUENCE           create and remove carry no sequence number
 *   M_FORGET_SEQUENCE       a fenced node forgets the sequence numbers it has taken
 *   M_MOVE_UNCONFIRMED      a span moves before its old dispatcher is confirmed gone
 *   M_STOP_UNCONFIRMED      a stop is complete when the owner is confirmed, not every node
 */
#ifdef M_RECORD_ONLY
#define M_FLOOR_BY_RECORD
#endif
#ifndef MAXEP
#define MAXEP 3
#endif
#ifndef MAXQ
#define MAXQ 3                    /* schedule messages per epoch: create, remove, create */
#endif
#ifndef MAXINC
#define MAXINC 1                  /* restarts per node */
#endif
#define ALL 3
#define BIT(n) (1 << (n))
#define MSG(q, i) (1 << (((q) - 1) * 2 + (i)))

/* catalog; epoch 0 means never started */
byte ep;
bool runs[MAXEP + 1];
byte owner[MAXEP + 1];
byte owner_inc[MAXEP + 1];
/* leader */
byte confirmed;                   /* nodes for which the barrier of `ep` has passed, bit mask */
byte stopped;                     /* newest epoch whose stop was reported complete */
/* nodes */
bool fenced[2];
byte view[2];                     /* epoch in the node's view of the catalog */
byte inc[2];                      /* incarnation */
byte maintains[2];                /* epoch of the maintainer that runs there, 0 none */
byte started[2];                  /* highest epoch of a maintainer started in this incarnation */
byte record[2];                   /* epoch that booted this node last, 0 none */
byte taken[2];                    /* highest sequence number taken in that epoch */
byte writer[2];                   /* epoch of the dispatcher that runs there, 0 none */
byte writer_q[2];                 /* sequence number of its create */
/* the maintainer of an epoch: what it believes; and its messages */
typedef Epoch {
  byte q;                         /* last sequence number used */
  byte met[2];                    /* 1 + incarnation of the nodes that answered, 0 not yet */
  byte at;                        /* 1 + node of the dispatcher, 0 none */
  byte made;                      /* sequence number of its create */
  bool removing;
  bool add;                       /* sent by the leader */
  bool began;                     /* started somewhere: its boot is in the network */
  byte create[2];                 /* sent: set of MSG(q, incarnation) */
  byte remove[2];
}
Epoch m[MAXEP + 1];
/* the sink */
byte sink_e;
byte sink_q;

inline end_maintainer(n) { maintains[n] = 0 }

inline see(n, e) {                /* the catalog view of n moves on */
  view[n] = e;
  if :: maintains[n] < e -> end_maintainer(n) :: else fi
#ifndef M_FLOOR_BY_RECORD
  ; if :: started[n] < e -> started[n] = 0 :: else fi
#endif
}

/* ---- leader ---- */

inline change(r, o) {
  ep++; runs[ep] = r; owner[ep] = o; owner_inc[ep] = inc[o]; confirmed = 0;
  if :: r -> printf("epoch %d: runs on node %d\n", ep, o) :: else -> printf("epoch %d: stopped\n", ep) fi
}

inline clear(e) {                 /* no node can accept its messages any more */
  d_step { m[e].q = 0; m[e].met[0] = 0; m[e].met[1] = 0; m[e].at = 0; m[e].made = 0; m[e].removing = false; m[e].add = false;
           m[e].began = false; m[e].create[0] = 0; m[e].create[1] = 0; m[e].remove[0] = 0; m[e].remove[1] = 0 }
}

inline confirm(n) {
  atomic { !(confirmed & BIT(n)) && (fenced[n] || view[n] == ep) ->
    confirmed = confirmed | BIT(n); printf("node %d is confirmed in epoch %d\n", n, ep);
#ifdef CLEAR
    if
    :: confirmed == ALL && ep > 1 -> clear(ep - 1); if :: ep > 2 -> clear(ep - 2) :: else fi
    :: else
    fi
#endif
  }
}

#ifdef M_ADD_BEFORE_BARRIER
#define MAY_ADD true
#else
#define MAY_ADD (confirmed == ALL)
#endif
#ifdef M_STOP_UNCONFIRMED
#define STOP_DONE (confirmed & BIT(owner[ep - 1]))
#else
#define STOP_DONE (confirmed == ALL)
#endif

proctype Leader() {
  do
  :: atomic { ep < MAXEP -> change(true, 0) }
  :: atomic { ep > 0 && ep < MAXEP -> change(true, 1) }        /* the nodes are alike: node 0 comes first */
  :: atomic { ep < MAXEP && runs[ep] -> change(false, 0) }
  :: atomic { confirmed != 0 -> confirmed = 0; printf("a new leader\n") }
  :: confirm(0)
  :: confirm(1)
  :: atomic { ep > 0 && runs[ep] && !m[ep].add && MAY_ADD -> m[ep].add = true; printf("add of epoch %d leaves\n", ep) }
  :: atomic { ep > 0 && !runs[ep] && stopped < ep && STOP_DONE -> stopped = ep; printf("stop %d is complete\n", ep) }
  od
}

/* ---- node ---- */

#ifdef M_FLOOR_BY_RECORD
#define CURRENT(n, e) (!fenced[n] && (e) >= record[n])
#else
#define CURRENT(n, e) (!fenced[n] && (e) == view[n])
#endif
#ifdef M_ADD_ANY_INCARNATION
#define FOR_ME(n, e) (owner[e] == n)
#else
#define FOR_ME(n, e) (owner[e] == n && owner_inc[e] == inc[n])
#endif
#ifdef M_RESTART_IN_EPOCH
#define UNUSED(n, e) (maintains[n] < (e))
#else
#define UNUSED(n, e) (started[n] < (e))
#endif

inline take_add(e) {              /* me receives add */
  atomic { e <= ep && m[e].add && CURRENT(me, e) && FOR_ME(me, e) && UNUSED(me, e) ->
    maintains[me] = e; started[me] = e; m[e].began = true;
    m[e].q = 0; m[e].met[0] = 0; m[e].met[1] = 0; m[e].at = 0; m[e].made = 0; m[e].removing = false;
    printf("node %d starts the maintainer of epoch %d\n", me, e) }
}

inline take_boot(e) {             /* and the maintainer learns whom it reached */
  atomic { e <= ep && m[e].began && CURRENT(me, e) && (record[me] < e || m[e].met[me] != inc[me] + 1) ->
    if :: record[me] < e -> record[me] = e; taken[me] = 0; writer[me] = 0; writer_q[me] = 0 :: else fi;
    if :: m[e].met[me] != inc[me] + 1 && m[e].at == me + 1 -> m[e].at = 0; m[e].removing = false :: else fi;
    m[e].met[me] = inc[me] + 1; printf("node %d is booted by epoch %d\n", me, e) }
}

#ifdef M_CREATE_ANY_INCARNATION
#define SENT(set, q) (((set) & MSG(q, 0)) || ((set) & MSG(q, 1)))
#else
#define SENT(set, q) ((set) & MSG(q, inc[me]))
#endif
#ifdef M_NO_SEQUENCE
#define NEWER(q) true
#else
#define NEWER(q) ((q) > taken[me])
#endif

inline take_create(e, n_) {
  atomic { e <= ep && SENT(m[e].create[me], n_) && CURRENT(me, e) && record[me] == e && NEWER(n_) && writer_q[me] != n_ ->
    writer[me] = e; writer_q[me] = n_; taken[me] = n_; printf("node %d creates writer %d.%d\n", me, e, n_) }
}
inline take_remove(e, n_) {
  atomic { e <= ep && SENT(m[e].remove[me], n_) && CURRENT(me, e) && record[me] == e && NEWER(n_) ->
    writer[me] = 0; writer_q[me] = 0; taken[me] = n_; printf("node %d obeys remove %d.%d\n", me, e, n_) }
}
#define ME maintains[me]
#define GONE(e, k) (inc[k] + 1 != m[e].met[k] || (record[k] == e && taken[k] >= m[e].made && writer[k] != e))

inline place(k) {
  atomic { ME > 0 && m[ME].at == 0 && m[ME].met[k] > 0 && m[ME].q < MAXQ ->
    m[ME].q++; m[ME].made = m[ME].q; m[ME].at = k + 1;
    m[ME].create[k] = m[ME].create[k] | MSG(m[ME].q, m[ME].met[k] - 1);
    printf("maintainer %d sends create %d to node %d\n", ME, m[ME].q, k) }
}
inline displace(k) {
  atomic { ME > 0 && m[ME].at == k + 1 && !m[ME].removing && m[ME].q < MAXQ ->
    m[ME].q++; m[ME].removing = true;
    m[ME].remove[k] = m[ME].remove[k] | MSG(m[ME].q, m[ME].met[k] - 1);
    printf("maintainer %d sends remove %d to node %d\n", ME, m[ME].q, k) }
}
#ifdef M_MOVE_UNCONFIRMED
#define CONFIRMED_GONE(e, k) m[e].removing
#else
#define CONFIRMED_GONE(e, k) GONE(e, k)
#endif
inline learn(k) {
  atomic { ME > 0 && m[ME].at == k + 1 && CONFIRMED_GONE(ME, k) -> m[ME].at = 0; m[ME].removing = false;
    printf("maintainer %d takes the dispatcher on node %d for gone\n", ME, k) }
}

#if defined(M_WRITE_LEASE_ONLY)
#define MAY_WRITE(n) (!fenced[n])
#elif defined(M_WRITE_NO_LEASE)
#define MAY_WRITE(n) (writer[n] == view[n])
#elif defined(M_RECORD_ONLY)
#define MAY_WRITE(n) (!fenced[n] && writer[n] == record[n])
#else
#define MAY_WRITE(n) (!fenced[n] && writer[n] == view[n])
#endif

inline fence(n) {
  fenced[n] = true; end_maintainer(n);
#ifndef M_WRITE_NO_LEASE
  writer[n] = 0; writer_q[n] = 0;
#endif
#ifdef M_FORGET_SEQUENCE
  record[n] = 0; taken[n] = 0
#endif
}

proctype Node(byte me) {
  do
  :: atomic { !fenced[me] && view[me] < ep -> see(me, view[me] + 1); printf("node %d sees epoch %d\n", me, view[me]) }
  :: atomic { !fenced[me] -> fence(me); printf("node %d is fenced\n", me) }
  :: atomic { fenced[me] -> fenced[me] = false; see(me, ep); printf("node %d unfences in epoch %d\n", me, ep) }
  :: atomic { inc[me] < MAXINC -> inc[me]++; fence(me); view[me] = 0; started[me] = 0; record[me] = 0; taken[me] = 0;
              writer[me] = 0; writer_q[me] = 0; printf("node %d restarts\n", me) }
  :: atomic { record[me] > 0 && record[me] < view[me] -> record[me] = 0; taken[me] = 0; writer[me] = 0; writer_q[me] = 0;
              printf("node %d drops what was left of an older epoch\n", me) }
  :: atomic { maintains[me] > 0 -> end_maintainer(me); printf("the maintainer on node %d ends\n", me) }
  :: take_add(1)
  :: take_boot(1)
  :: take_create(1, 1)
  :: take_remove(1, 2)
  :: take_create(1, 3)
  :: take_add(2)
  :: take_boot(2)
  :: take_create(2, 1)
  :: take_remove(2, 2)
  :: take_create(2, 3)
#if MAXEP > 2
  :: take_add(3)
  :: take_boot(3)
  :: take_create(3, 1)
  :: take_remove(3, 2)
  :: take_create(3, 3)
#endif
#if MAXEP > 3
  :: take_add(4)
  :: take_boot(4)
  :: take_create(4, 1)
  :: take_remove(4, 2)
  :: take_create(4, 3)
#endif
  :: place(0)
  :: place(1)
  :: displace(0)
  :: displace(1)
  :: learn(0)
  :: learn(1)
  :: atomic { writer[me] > 0 && MAY_WRITE(me) -> printf("writer %d.%d on node %d writes\n", writer[me], writer_q[me], me);
              assert(writer[me] > sink_e || (writer[me] == sink_e && writer_q[me] >= sink_q));
              assert(writer[me] > stopped);
              sink_e = writer[me]; sink_q = writer_q[me] }
  od
}

#ifdef LIVE
/* no faults any more: every message arrives, in order */
inline settle(n) { fenced[n] = false; if :: view[n] < ep -> see(n, ep) :: else fi }
inline start_here() {
  maintains[o] = ep; started[o] = ep; m[ep].began = true; m[ep].add = true; confirmed = ALL;
  m[ep].q = 0; m[ep].met[0] = 0; m[ep].met[1] = 0; m[ep].at = 0; m[ep].made = 0; m[ep].removing = false
}
inline booted(n) {
  if :: record[n] < ep -> record[n] = ep; taken[n] = 0; writer[n] = 0; writer_q[n] = 0 :: else fi;
  if :: m[ep].met[n] != inc[n] + 1 && m[ep].at == n + 1 -> m[ep].at = 0; m[ep].removing = false :: else fi;
  m[ep].met[n] = inc[n] + 1
}
#define CAN_START (owner_inc[ep] == inc[o] && started[o] < ep)

proctype Calm() {
  byte o; byte k;
  do
  :: atomic { ep > 0 ->
       settle(0); settle(1); o = owner[ep];
       if
       :: runs[ep] && maintains[o] != ep && !CAN_START && ep < MAXEP -> change(true, o); settle(0); settle(1)
       :: else
       fi;
       if :: runs[ep] && maintains[o] != ep && CAN_START -> start_here() :: else fi;
       if
       :: runs[ep] && maintains[o] == ep ->
            booted(0); booted(1);
            k = (m[ep].at > 0 -> m[ep].at - 1 : 0);
            if
            :: m[ep].at > 0 && m[ep].removing && m[ep].q > taken[k] -> writer[k] = 0; writer_q[k] = 0; taken[k] = m[ep].q
            :: m[ep].at > 0 && !m[ep].removing && m[ep].made > taken[k] -> writer[k] = ep; writer_q[k] = m[ep].made; taken[k] = m[ep].made
            :: else
            fi;
            if :: m[ep].at > 0 && GONE(ep, k) -> m[ep].at = 0; m[ep].removing = false :: else fi;
            if
            :: m[ep].at == 0 && m[ep].q < MAXQ ->
                 m[ep].q++; m[ep].made = m[ep].q; m[ep].at = 1; m[ep].create[0] = m[ep].create[0] | MSG(m[ep].q, inc[0]);
                 writer[0] = ep; writer_q[0] = m[ep].q; taken[0] = m[ep].q
            :: else
            fi;
            assert(m[ep].q == MAXQ || ((writer[0] == ep) != (writer[1] == ep)))
       :: !runs[ep] -> assert(writer[0] != ep && writer[1] != ep)
       :: else                    /* out of epochs */
       fi;
       o = 0; k = 0 }
  od
}
#endif

init { atomic { fenced[0] = true; fenced[1] = true; run Leader(); run Node(0); run Node(1);
#ifdef LIVE
  run Calm()
#endif
} }
