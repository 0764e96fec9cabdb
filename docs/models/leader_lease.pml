/* Leader lease: who may act as leader, and until when (src/raft/, L1 of raft_core.h).
 *
 * Three voters elect leaders.  A leader's lease is counted from the SEND time of a heartbeat round
 * that a majority acknowledged.  A voter that heard from a leader refuses votes for E ticks of its
 * own clock; a voter that restarted waits E ticks; a transfer of leadership overrides that wait.
 *
 * Time: one tick of Clock is one tick for every process, except that now and then one process's
 * clock misses a tick (one miss in LEASE+1 ticks: the drift bound).  Steps take no time, but any
 * number of ticks may pass between two steps of a process: that is a pause, or a slow network.
 * Messages: a request stays readable for ever after it was sent (delay, loss, duplicates, any order).
 *
 * Property: (1) when a leader is elected no process holds a leader lease of an earlier term;
 *           (2) no lease is gained or prolonged once the leader of a later term has been elected.
 * Liveness (spin -DLIVE): from every reachable state (with a term left), once processes and network
 * behave, an election after E ticks gives a leader that obtains a lease.
 *
 * Mutants (spin -D):
 *   M_NO_STICKINESS       a voter that hears from a live leader votes all the same
 *   M_LEASE_FROM_ACK      the lease is counted from the acknowledgement, not from the send time
 *   M_ACK_ANY_TERM        an acknowledgement does not say that the voter still follows this leader's term
 *                         (a heartbeat between processes that stands for all their quiet groups)
 *   M_NO_DRIFT_MARGIN     the lease is as long as the voters' wait
 *   M_RESTART_VOTES       a restarted voter votes at once
 *   M_RESTART_STANDS      a restarted voter grants nothing, but may stand (and vote for itself) at once
 *   M_TRANSFER_KEEPS      the lease is kept when TimeoutNow leaves
 *   M_TRANSFER_RENEWS     the lease is voided, but a late acknowledgement renews it
 *   M_ABORT_RESUMES       a transfer that timed out is forgotten and the leader goes on with leases
 *   M_LEADER_VOTES        a leader with a lease votes for others
 */
#ifndef MAXTERM
#define MAXTERM 4
#endif
#define N 3
#ifndef E
#define E 3                       /* minimum election timeout, in ticks of a voter's clock */
#endif
#ifdef M_NO_DRIFT_MARGIN
#define LEASE E
#else
#define LEASE (E - 1)             /* E less the drift that E can bring */
#endif

#define FOLLOWER 0
#define CANDIDATE 1
#define LEADER 2

/* durable */
byte term[N];
byte vote[N];                     /* 0 none, i+1 voted for i */
/* volatile */
byte role[N];
byte stick[N];                    /* ticks for which no vote is granted and no election begun */
#ifdef M_RESTART_STANDS
byte wait[N];                     /* ticks for which no vote is granted */
#else
#define wait stick
#endif
byte lease[N];                    /* ticks of leader lease left */
byte got[N];                      /* votes received in this candidacy, bit mask */
bool round[N];                    /* a heartbeat round is out */
byte age[N];                      /* its age on the leader's clock */
byte acks[N];                     /* who acknowledged it, bit mask */
bool moving[N];                   /* this leader has sent TimeoutNow in this term */
/* in the network */
byte asked[N];                    /* latest RequestVote of i: its term, and whether it overrides the wait */
bool force[N];
byte timeout_now[N];              /* term of the TimeoutNow sent to i, 0 none */

byte newest;                      /* highest term that ever had a leader */
byte steady = LEASE;              /* ticks since a clock last missed one */

#define BIT(i) (1 << (i))
#define MAJORITY(m) ((m) == 3 || (m) >= 5)

inline resign(i) {
  role[i] = FOLLOWER; lease[i] = 0; got[i] = 0; round[i] = false; age[i] = 0; acks[i] = 0; moving[i] = false
}

inline forget(i) {                /* an older TimeoutNow would be ignored */
  if :: timeout_now[i] < term[i] -> timeout_now[i] = 0 :: else fi
}

inline adopt(i, t) {              /* a higher term is seen */
  if :: t > term[i] -> term[i] = t; vote[i] = 0; resign(i); forget(i) :: else fi
}

inline stand(i, f) {              /* in the term after its own */
  resign(i); term[i]++; role[i] = CANDIDATE; vote[i] = i + 1; got[i] = BIT(i); asked[i] = term[i]; force[i] = f;
  forget(i)
}

#ifdef M_LEADER_VOTES
#define HOLDS(i) false
#else
#define HOLDS(i) (role[i] == LEADER && lease[i] > 0)
#endif
#define REFUSES(i) (stick[i] > 0 || wait[i] > 0 || HOLDS(i))
#define MAY_STAND(i) (stick[i] == 0)

inline consider(c) {              /* me looks at c's request for votes */
  atomic { (asked[c] > term[me] || (asked[c] == term[me] && vote[me] == 0 && role[me] == FOLLOWER)) &&
           (force[c] || !REFUSES(me)) ->
    adopt(me, asked[c]); vote[me] = c + 1; printf("%d votes for %d in term %d\n", me, c, asked[c]);
    if :: role[c] == CANDIDATE && term[c] == asked[c] -> got[c] = got[c] | BIT(me) :: else fi }
}

#ifdef M_ACK_ANY_TERM
#define FOLLOWS(l) true
#else
#define FOLLOWS(l) (term[l] >= term[me])
#endif

inline hear(l) {                  /* me receives l's heartbeat and acknowledges it */
  atomic { round[l] && FOLLOWS(l) && !(acks[l] & BIT(me)) ->
    adopt(me, term[l]); printf("%d acknowledges %d's heartbeat\n", me, l);
    if :: role[me] == CANDIDATE -> resign(me) :: else fi;
#ifndef M_NO_STICKINESS
    stick[me] = E;
#endif
    acks[l] = acks[l] | BIT(me) }
}

#ifdef M_TRANSFER_RENEWS
#define MAY_RENEW(i) true
#else
#define MAY_RENEW(i) (!moving[i])
#endif

inline transfer(t) {
  atomic { role[me] == LEADER && !moving[me] ->
#ifndef M_TRANSFER_KEEPS
    lease[me] = 0;
#endif
    moving[me] = true; timeout_now[t] = term[me]; printf("%d hands over to %d\n", me, t) }
}

#define A ((me + 1) % N)
#define B ((me + 2) % N)

proctype Controller(byte me) {
  do
  /* elections */
  :: atomic { role[me] != LEADER && MAY_STAND(me) && term[me] < MAXTERM -> stand(me, false); printf("%d stands in term %d\n", me, term[me]) }
  :: atomic { role[me] != LEADER && timeout_now[me] != 0 && timeout_now[me] >= term[me] && timeout_now[me] < MAXTERM ->
              adopt(me, timeout_now[me]); stand(me, true); printf("%d stands in term %d by TimeoutNow\n", me, term[me]) }
  :: consider(A)
  :: consider(B)
  :: atomic { role[me] == CANDIDATE && MAJORITY(got[me]) ->
              role[me] = LEADER; got[me] = 0; printf("%d leads term %d\n", me, term[me]);
              assert(lease[A] == 0 || term[A] > term[me]);                          /* property 1 */
              assert(lease[B] == 0 || term[B] > term[me]);
              if :: term[me] > newest -> newest = term[me] :: else fi }
  /* lease */
  :: atomic { role[me] == LEADER -> round[me] = true; age[me] = 0; acks[me] = BIT(me);
              printf("%d sends heartbeats\n", me) }
  :: hear(A)
  :: hear(B)
  :: atomic { round[me] && MAJORITY(acks[me]) && MAY_RENEW(me) && age[me] < LEASE ->
#ifdef M_LEASE_FROM_ACK
              lease[me] = LEASE;
#else
              if :: LEASE - age[me] > lease[me] -> lease[me] = LEASE - age[me] :: else fi;
#endif
              round[me] = false; age[me] = 0; acks[me] = 0; printf("%d holds a lease for %d\n", me, lease[me]);
              assert(term[me] >= newest) }                                         /* property 2 */
  /* transfer */
  :: transfer(A)
  :: transfer(B)
#ifdef M_ABORT_RESUMES
  :: atomic { role[me] == LEADER && moving[me] -> moving[me] = false; printf("%d gives up the transfer\n", me) }
#endif
  /* check-quorum or an unfinished transfer makes a leader step down; it may do so at any time */
  :: atomic { role[me] != FOLLOWER -> resign(me); printf("%d steps down\n", me) }
  /* crash and restart; a process that is down is one that takes no step until it restarts */
  :: atomic { resign(me); stick[me] = 0; printf("%d restarts\n", me);
#ifndef M_RESTART_VOTES
              wait[me] = E;
#endif
            }
  od
}

inline pass(i) {                  /* one tick on i's clock */
  stick[i] = (stick[i] > 0 -> stick[i] - 1 : 0);
#ifdef M_RESTART_STANDS
  wait[i] = (wait[i] > 0 -> wait[i] - 1 : 0);
#endif
  lease[i] = (lease[i] > 0 -> lease[i] - 1 : 0);
  age[i] = (round[i] && age[i] < LEASE -> age[i] + 1 : age[i])
}

proctype Clock() {
  do
  :: atomic { pass(0); pass(1); pass(2); steady = (steady < LEASE -> steady + 1 : LEASE); printf("tick\n") }
  :: atomic { steady == LEASE -> pass(1); pass(2); steady = 0; printf("tick, missed by 0\n") }
  :: atomic { steady == LEASE -> pass(0); pass(2); steady = 0; printf("tick, missed by 1\n") }
  :: atomic { steady == LEASE -> pass(0); pass(1); steady = 0; printf("tick, missed by 2\n") }
  od
}

#ifdef LIVE
#define TOP(i) (term[i] >= term[0] && term[i] >= term[1] && term[i] >= term[2])
proctype Calm() {
  byte c; byte v;
  do
  :: atomic { term[0] < MAXTERM && term[1] < MAXTERM && term[2] < MAXTERM ->
       do :: c < E -> pass(0); pass(1); pass(2); c++ :: else -> break od;
       resign(0); resign(1); resign(2);      /* nobody heard from a majority: check-quorum */
       if :: TOP(0) -> c = 0 :: else -> if :: TOP(1) -> c = 1 :: else -> c = 2 fi fi;
       stand(c, false); v = (c + 1) % N;
       if :: term[v] < term[c] && !REFUSES(v) -> adopt(v, term[c]); vote[v] = c + 1; got[c] = got[c] | BIT(v) :: else fi;
       assert(MAJORITY(got[c]));
       role[c] = LEADER; got[c] = 0; newest = term[c];
       round[c] = true; age[c] = 0; acks[c] = BIT(c) | BIT(v); stick[v] = E;
       assert(MAY_RENEW(c)); lease[c] = LEASE; round[c] = false; acks[c] = 0;
       c = 0; v = 0 }
  od
}
#endif

init {
  atomic {
    term[0] = 1; term[1] = 1; term[2] = 1; vote[0] = 1; vote[1] = 1; role[0] = LEADER; newest = 1;
    run Controller(0); run Controller(1); run Controller(2); run Clock();
#ifdef LIVE
    run Calm()
#endif
  }
}
