/* Procedures and their tasks on a node (submit, poll, acknowledge): src/controller/procedure/task_board.h,
 * src/node/tasks/task_table.h.
 *
 * A procedure has STEPS steps; each is done by a task on one node, which may fail and be tried again.
 * The catalog holds (step, attempt, incarnation of the node the attempt is meant for); it is changed
 * only by the current leader and only from the step and attempt it stands at.  A deposed leader goes
 * on with what it remembers.  The rules:
 *   1 an attempt is committed, with the node's incarnation, before its submit leaves;
 *   2 a submit carries the leadership epoch, a sequence number of that leader and the incarnation; the
 *     node takes it only if (epoch, sequence) is higher than any it took and the incarnation is its own;
 *     it starts the task if it does not know the key (step, attempt), else it answers the state;
 *   3 every message carries the leadership epoch and raises the node's; lower ones are refused;
 *   4 success and failure come from the task alone, under its key;
 *   5 TASK_NOT_EXIST from the incarnation the attempt is meant for means "submit it again"; only from
 *     another incarnation, or after FAIL, is there a new attempt;
 *   6 a result is acknowledged after the step's change is committed; the acknowledgement carries
 *     (epoch, last sequence number used), which the node takes over when it forgets the result.
 *   7 a node that is away (fenced) takes no submit; when it is declared lost the procedure ends without
 *     it; on its return it takes over the leader's (epoch, sequence number) and drops the tasks of
 *     procedures that have ended, before anything else.
 *
 * Everything ever sent stays in the network: delayed, lost, repeated, reordered.
 * Properties, checked at each start of a task: it belongs to the current step and attempt, has not been
 * started before, and no other task of the procedure runs.  At each commit of a step: its task did
 * finish with success, in the attempt that counts.  At the end: nothing runs.
 * Liveness (spin -DLIVE): from every reachable state, a run without faults ends the procedure.
 *
 * Mutants (spin -D):
 *   M_NO_SEQUENCE           a repeated submit is recognised by its key alone
 *   M_ANY_INCARNATION       a submit does not name the incarnation it is meant for
 *   M_NOT_EXIST_IS_RESTART  TASK_NOT_EXIST always leads to a new attempt
 *   M_OLD_LEADER            the node does not look at the leadership epoch
 *   M_POLL_NO_EPOCH         a poll does not raise the node's epoch
 *   M_ACK_NO_SEQUENCE       the acknowledgement does not raise the sequence number
 *   M_ACK_BEFORE_COMMIT     a result is acknowledged when it arrives
 *   M_ATTEMPT_NOT_DURABLE   a new attempt is submitted before it is committed
 *   M_BLIND_COMMIT          a step's change is not conditional on leader, step and attempt
 *   M_NO_CLEANUP            a node that returns goes on with the tasks it had
 *   M_RETURN_NO_SEQUENCE    a node that returns does not take over (epoch, sequence number)
 *   M_KEY_NO_ATTEMPT        the key is the step
 *   M_KEY_NO_STEP           the key is the attempt
 *   M_TIMEOUT_IS_SUCCESS    a second submit's TASK_NOT_EXIST counts as done
 */
#ifndef STEPS
#define STEPS 2
#endif
#ifndef ATT
#define ATT 3                     /* attempts per step */
#endif
#ifndef LE
#define LE 2                      /* leaders */
#endif
#ifndef MAXSEQ
#define MAXSEQ 3                  /* submits per leader */
#endif
#ifndef MAXINC
#define MAXINC 1                  /* restarts of the node */
#endif
#define KEYS (STEPS * ATT)
#define ID(s, a) ((s) * ATT + (a))      /* one number per (step, attempt), for the checks */
#if defined(M_KEY_NO_ATTEMPT)
#define KEY(s, a) ((s) * ATT)
#elif defined(M_KEY_NO_STEP)
#define KEY(s, a) (a)
#else
#define KEY(s, a) ID(s, a)
#endif

#define NONE 0
#define PROCESSING 1
#define SUCCESS 2
#define FAIL 3

/* catalog */
byte step;                        /* STEPS: the procedure has ended */
byte attempt;
byte target;                      /* incarnation of the node that this attempt is meant for */
byte cur = 1;                     /* epoch of the current leader */
/* leaders, by epoch: what each remembers */
typedef Leader { byte step; byte attempt; byte target; byte seq }
Leader l[LE + 1];
/* node */
byte inc;
bool away;                        /* fenced */
byte seen;                        /* highest leadership epoch */
byte seen_seq;                    /* highest sequence number taken in it */
byte task[KEYS];                  /* state by key */
byte task_id[KEYS];               /* 1 + the (step, attempt) for which it was started; for the checks */
/* network */
typedef Submits { byte key[MAXSEQ + 1]; byte id[MAXSEQ + 1]; byte inc[MAXSEQ + 1] }
Submits sent[LE + 1];             /* key: 1 + key, 0 not sent */
byte told[KEYS];                  /* set of bits: 1 success, 2 failure, 4 << i: does not exist in incarnation i */
byte ack[KEYS];                   /* epoch of the leader that acknowledged, 0 none */
byte ack_q[KEYS];                 /* and its last sequence number */
/* for the checks */
byte started[KEYS];
bool finished[KEYS];

#define LKEY(e) KEY(l[e].step, l[e].attempt)
#define ACTIVE(e) (e <= cur && l[e].step < STEPS)

inline acknowledge(e) { ack[LKEY(e)] = e; ack_q[LKEY(e)] = l[e].seq }

inline submit(e) {
  l[e].seq++; sent[e].key[l[e].seq] = LKEY(e) + 1; sent[e].id[l[e].seq] = ID(l[e].step, l[e].attempt);
  sent[e].inc[l[e].seq] = l[e].target;
  printf("leader %d submits step %d attempt %d for incarnation %d\n", e, l[e].step, l[e].attempt, l[e].target)
}

inline commit(e) {                /* what the leader holds goes to the catalog */
  step = l[e].step; attempt = l[e].attempt; target = l[e].target
}

#ifdef M_BLIND_COMMIT
#define MAY_COMMIT(e) ACTIVE(e)
#else
#define MAY_COMMIT(e) (e == cur && step < STEPS)
#endif
#ifdef M_NOT_EXIST_IS_RESTART
#define LOST(e, i) (told[LKEY(e)] & (4 << (i)))
#else
#define LOST(e, i) ((told[LKEY(e)] & (4 << (i))) && l[e].target != (i))
#endif
#ifdef M_ATTEMPT_NOT_DURABLE
inline next_attempt(e) { l[e].attempt++ }   /* committed with the step's end, or never */
#else
inline next_attempt(e) { l[e].attempt++; commit(e) }
#endif

proctype LeaderOf(byte e) {
  byte k;
  do
  :: atomic { ACTIVE(e) && l[e].seq < MAXSEQ -> submit(e) }
#ifdef M_ACK_BEFORE_COMMIT
  :: atomic { ACTIVE(e) && (told[LKEY(e)] & 3) && ack[LKEY(e)] == 0 -> acknowledge(e); printf("leader %d acknowledges the result\n", e) }
#endif
  :: atomic { MAY_COMMIT(e) && (told[LKEY(e)] & 1) ->
       printf("leader %d commits the end of step %d attempt %d\n", e, l[e].step, l[e].attempt);
       assert(finished[ID(l[e].step, l[e].attempt)]);
       acknowledge(e);
       l[e].step++; l[e].attempt = 0; commit(e);
       if :: step == STEPS -> k = 0; do :: k < KEYS -> assert(task[k] != PROCESSING); k++ :: else -> break od; k = 0 :: else fi }
  :: atomic { MAY_COMMIT(e) && (told[LKEY(e)] & 2) && l[e].attempt + 1 < ATT ->
       acknowledge(e); next_attempt(e);
       printf("leader %d goes to step %d attempt %d after a failure\n", e, l[e].step, l[e].attempt) }
  :: atomic { MAY_COMMIT(e) && LOST(e, 0) && l[e].attempt + 1 < ATT -> l[e].target = 0; next_attempt(e);
       printf("leader %d goes to step %d attempt %d, incarnation 0\n", e, l[e].step, l[e].attempt) }
  :: atomic { MAY_COMMIT(e) && LOST(e, 1) && l[e].attempt + 1 < ATT -> l[e].target = 1; next_attempt(e);
       printf("leader %d goes to step %d attempt %d, incarnation 1\n", e, l[e].step, l[e].attempt) }
#ifdef M_TIMEOUT_IS_SUCCESS
  :: atomic { MAY_COMMIT(e) && l[e].seq > 1 && (told[LKEY(e)] & 12) ->
       printf("leader %d takes step %d for done\n", e, l[e].step);
       assert(finished[ID(l[e].step, l[e].attempt)]); l[e].step++; l[e].attempt = 0; commit(e) }
#endif
  od
}

proctype LostNode() {             /* the current leader, about a node proven fenced */
  do
  :: atomic { away && step < STEPS -> l[cur].step = STEPS; l[cur].attempt = 0; commit(cur);
              printf("leader %d ends the procedure without the node\n", cur) }
  od
}

proctype Elections() {
  do
  :: atomic { cur < LE -> cur++; l[cur].step = step; l[cur].attempt = attempt; l[cur].target = target;
              printf("leader %d is elected at step %d attempt %d\n", cur, step, attempt) }
  od
}

#ifdef M_OLD_LEADER
#define NOT_OLD(e) true
#else
#define NOT_OLD(e) ((e) >= seen)
#endif
#ifdef M_NO_SEQUENCE
#define NEWER(e, q) NOT_OLD(e)
#else
#define NEWER(e, q) ((e) > seen || (NOT_OLD(e) && (q) > seen_seq))
#endif
#ifdef M_ANY_INCARNATION
#define FOR_ME(e, q) true
#else
#define FOR_ME(e, q) (sent[e].inc[q] == inc)
#endif

inline raise(e, q) {
  if :: e > seen -> seen = e; seen_seq = q :: e == seen && (q) > seen_seq -> seen_seq = q :: else fi
}

inline take(e, q) {
  atomic { !away && sent[e].key[q] > 0 && NEWER(e, q) && FOR_ME(e, q) ->
    raise(e, q);
    k = sent[e].key[q] - 1;
    if
    :: task[k] == NONE ->
         id = sent[e].id[q];
         printf("the node starts step %d attempt %d\n", id / ATT, id % ATT);
         assert(id == ID(step, attempt));
         assert(started[id] == 0);
         other = 0; do :: other < KEYS -> assert(task[other] != PROCESSING); other++ :: else -> break od; other = 0;
         task[k] = PROCESSING; task_id[k] = id + 1; started[id] = 1; id = 0
    :: else
    fi;
    k = 0 }
}

#ifdef M_POLL_NO_EPOCH
inline raise_by_poll(e) { skip }
#else
inline raise_by_poll(e) { raise(e, 0) }
#endif

inline poll(e) {                  /* leader e asks for its current task, or the node pushes the result */
  atomic { !away && ACTIVE(e) && NOT_OLD(e) ->
    raise_by_poll(e); k = LKEY(e);
    if
    :: task[k] == NONE -> told[k] = told[k] | (4 << inc)
    :: task[k] == SUCCESS -> told[k] = told[k] | 1
    :: task[k] == FAIL -> told[k] = told[k] | 2
    :: else
    fi;
    printf("the node tells leader %d the state %d of key %d\n", e, task[k], k); k = 0 }
}

inline work(k_) {
  atomic { task[k_] == PROCESSING -> task[k_] = SUCCESS; finished[task_id[k_] - 1] = true; printf("task %d succeeds\n", k_);
    assert(away || step < STEPS) }
}
inline fail(k_) {
  atomic { task[k_] == PROCESSING -> task[k_] = FAIL; printf("task %d fails\n", k_) }
}
#ifdef M_ACK_NO_SEQUENCE
inline raise_by_ack(k_) { skip }
#else
inline raise_by_ack(k_) { raise(ack[k_], ack_q[k_]) }
#endif
inline forget(k_) {
  atomic { ack[k_] > 0 && task[k_] > PROCESSING -> raise_by_ack(k_); task[k_] = NONE; task_id[k_] = 0; printf("the node forgets task %d\n", k_) }
}

proctype Node() {
  byte k; byte id; byte other;
  do
  :: take(1, 1)
  :: take(1, 2)
  :: take(1, 3)
  :: poll(1)
#if LE > 1
  :: take(2, 1)
  :: take(2, 2)
  :: take(2, 3)
  :: poll(2)
#endif
  :: work(0)
  :: work(1)
  :: work(2)
  :: fail(0)
  :: fail(1)
  :: forget(0)
  :: forget(1)
  :: forget(2)
#if STEPS > 1
  :: work(3)
  :: work(4)
  :: work(5)
  :: fail(3)
  :: fail(4)
  :: forget(3)
  :: forget(4)
  :: forget(5)
#endif
  :: atomic { !away -> away = true; printf("the node is fenced\n") }
  :: atomic { away -> away = false;
#ifndef M_RETURN_NO_SEQUENCE
       raise(cur, l[cur].seq);
#endif
#ifndef M_NO_CLEANUP
       if :: step == STEPS -> k = 0; do :: k < KEYS -> task[k] = NONE; task_id[k] = 0; k++ :: else -> break od; k = 0 :: else fi;
#endif
       printf("the node returns\n") }
  :: atomic { inc < MAXINC -> inc++; away = true; seen = 0; seen_seq = 0;
       k = 0; do :: k < KEYS -> task[k] = NONE; task_id[k] = 0; k++ :: else -> break od; k = 0;
       printf("the node restarts\n") }
  od
}

#ifdef LIVE
/* no faults any more; stops early when the attempts or submits of this bounded world are used up */
proctype Calm() {
  byte k; bool stuck;
  do
  :: atomic { step < STEPS ->
       away = false; raise(cur, l[cur].seq);
       do
       :: step == STEPS || stuck -> break
       :: step < STEPS && !stuck ->
            k = LKEY(cur);
            if
            :: task[k] == NONE && target != inc ->
                 if :: attempt + 1 < ATT -> l[cur].target = inc; next_attempt(cur) :: else -> stuck = true fi
            :: task[k] == NONE && target == inc ->
                 if
                 :: l[cur].seq < MAXSEQ -> submit(cur); assert(NEWER(cur, l[cur].seq)); raise(cur, l[cur].seq);
                      assert(started[k] == 0); task[k] = PROCESSING; task_id[k] = k + 1; started[k] = 1
                 :: else -> stuck = true
                 fi
            :: task[k] == PROCESSING -> task[k] = SUCCESS; finished[k] = true
            :: task[k] == SUCCESS -> acknowledge(cur); l[cur].step++; l[cur].attempt = 0; commit(cur); task[k] = NONE; task_id[k] = 0
            :: task[k] == FAIL ->
                 if :: attempt + 1 < ATT -> acknowledge(cur); next_attempt(cur); task[k] = NONE; task_id[k] = 0 :: else -> stuck = true fi
            fi
       od;
       assert(step == STEPS || stuck);
       k = 0; stuck = false }
  od
}
#endif

init { atomic { run LeaderOf(1);
#if LE > 1
  run LeaderOf(2);
#endif
#ifdef LIVE
  run Calm();
#endif
  run Elections(); run LostNode(); run Node() } }
