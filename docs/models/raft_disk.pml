/* Raft: what must be on disk before which message leaves (three voters, a few terms and entries): R1 to R6 of
 * src/raft/raft_core.h, decided in src/raft/outbox.h.
 *
 * Each server has memory and disk.  A step changes memory; `sync` brings the disk up to memory and
 * lets out the messages that waited for it; a crash throws memory back to the disk, at any moment.
 * Requests stay in the network for ever (latest vote request per candidate, latest append per leader
 * and index); answers arrive at any time or never.
 *
 * Properties: a leader's log holds every entry committed in an earlier term; no two entries are committed
 * at one index; after a restart the terms in a log never go down with the index, and the state
 * machine's flushed state is not ahead of the log.
 *
 * Options (spin -D): MAXTERM, CRASHES (in all), LEN (1 to 3 entries), APPLY (with the state machine).
 *
 * Mutants (spin -D), by the rules of raft_core.h:
 *   M_VOTE_BEFORE_SYNC      1 a vote leaves before term and vote are on disk
 *   M_REQUEST_BEFORE_SYNC   1 a vote request leaves before the candidate's own term and vote are on disk
 *   M_RESET_VOTE            1 the vote is forgotten when a leader of the term is heard
 *   M_ACK_TAIL              2 an append is acknowledged up to the follower's last index
 *   M_ACK_BEFORE_SYNC       2 an append is acknowledged before it is on disk
 *   M_TRUNCATION_LOST       3 entries cut off in memory stay on disk behind what was written since
 *   M_COUNT_SELF            4 a leader counts itself for what it has only in memory
 *   M_COMMIT_OLD_TERM       4 an entry of an earlier term is committed by counting
 *   M_APPLY_UNSYNCED        5 a committed entry is applied (and flushed) before it is in the log on disk
 *   M_VOTE_ANY_LOG          6 a vote is given without comparing logs
 */
#ifndef MAXTERM
#define MAXTERM 3
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef LEN
#define LEN 2                     /* log entries */
#endif
#define FOLLOWER 0
#define CANDIDATE 1
#define LEADER 2
#define BIT(i) (1 << (i))
#define MAJORITY(m) ((m) == 3 || (m) >= 5)
#define ENTRY(t, i) ((t) * 4 + (i))     /* term and proposer */
#define TERM(e) ((e) / 4)

/* in memory */
byte term[3]; byte voted[3];      /* voted: 1 + candidate */
byte length[3]; byte log[3 * LEN];      /* LOG(i, n): entry of server i at index n */
byte role[3];
byte got[3];                      /* candidate: votes, bit mask */
byte acks[3 * LEN];                     /* leader: ACKS(i, n): who acknowledged index n */
byte vote_for[3];                 /* 1 + candidate whose vote waits for the disk */
byte ack_to[3];                   /* 1 + leader whose acknowledgement waits for the disk */
byte ack_term[3]; byte ack_index[3];
/* on disk */
byte d_term[3]; byte d_voted[3]; byte d_length[3]; byte d_log[3 * LEN];
byte applied[3];                  /* flushed by the state machine */
/* in the network: latest vote request of a server; latest append of a server per index */
byte r_term[3]; byte r_last[3]; byte r_length[3]; bool r_out[3];
byte a_term[3 * LEN]; byte a_entry[3 * LEN]; byte a_prev[3 * LEN];
/* for the checks */
byte committed[LEN + 1];          /* entry committed at each index, 0 none */
byte in_term[LEN + 1];            /* and the term of the leader that committed it */
byte crashes;

#define AT(i, n) ((i) * LEN + (n) - 1)
#define LOG(i, n) log[AT(i, n)]
#define ACKS(i, n) acks[AT(i, n)]
#define D_LOG(i, n) d_log[AT(i, n)]
/* for every index k of the log, from `first` on: the body that follows; then DONE */
#define EVERY(first) k = first; do :: k <= LEN ->
#define DONE k++ :: else -> k = 0; break od

#define LAST(i) (length[i] == 0 -> 0 : TERM(LOG(i, length[i])))

inline step_down(i) {
  role[i] = FOLLOWER; got[i] = 0; EVERY(1) ACKS(i, k) = 0; DONE
}
inline adopt(i, t) {
  if :: t > term[i] -> term[i] = t; voted[i] = 0; vote_for[i] = 0; ack_to[i] = 0; ack_term[i] = 0; ack_index[i] = 0; step_down(i)
     :: else fi
}

inline deliver_vote(i, c) {       /* i's vote reaches candidate c */
  if
  :: role[c] == CANDIDATE && term[c] == term[i] ->
       got[c] = got[c] | BIT(i)
  :: else
  fi
}
inline deliver_ack(i, a, t, n) {
  if
  :: role[a] == LEADER && term[a] == t ->
       EVERY(1) if :: n >= k -> ACKS(a, k) = ACKS(a, k) | BIT(i) :: else fi; DONE
  :: else
  fi
}

#if LEN == 1
#define SAME_LOG(i) (d_length[i] == length[i] && D_LOG(i, 1) == LOG(i, 1))
#elif LEN == 2
#define SAME_LOG(i) (d_length[i] == length[i] && D_LOG(i, 1) == LOG(i, 1) && D_LOG(i, 2) == LOG(i, 2))
#else
#define SAME_LOG(i) (d_length[i] == length[i] && D_LOG(i, 1) == LOG(i, 1) && D_LOG(i, 2) == LOG(i, 2) && D_LOG(i, 3) == LOG(i, 3))
#endif
#define DIRTY(i) (d_term[i] != term[i] || d_voted[i] != voted[i] || !SAME_LOG(i))

inline sync() {
  atomic { DIRTY(me) || vote_for[me] > 0 || ack_to[me] > 0 || (role[me] == CANDIDATE && !r_out[me]) ->
    d_term[me] = term[me]; d_voted[me] = voted[me];
#ifdef M_TRUNCATION_LOST
    EVERY(1) if :: length[me] >= k -> D_LOG(me, k) = LOG(me, k) :: else fi; DONE;
    if :: length[me] > d_length[me] -> d_length[me] = length[me] :: else fi;
#else
    EVERY(1) D_LOG(me, k) = LOG(me, k); DONE;
    d_length[me] = length[me];
#endif
    if :: vote_for[me] > 0 -> deliver_vote(me, vote_for[me] - 1); vote_for[me] = 0 :: else fi;
    if :: ack_to[me] > 0 -> deliver_ack(me, ack_to[me] - 1, ack_term[me], ack_index[me]);
          ack_to[me] = 0; ack_term[me] = 0; ack_index[me] = 0 :: else fi;
    if :: role[me] == CANDIDATE -> r_out[me] = true :: else fi;
    printf("%d syncs\n", me) }
}

inline stand() {
  atomic { role[me] != LEADER && term[me] < MAXTERM ->
    step_down(me); term[me]++; voted[me] = me + 1; role[me] = CANDIDATE; got[me] = BIT(me);
    vote_for[me] = 0; ack_to[me] = 0; ack_term[me] = 0; ack_index[me] = 0;
    r_term[me] = term[me]; r_last[me] = LAST(me); r_length[me] = length[me]; r_out[me] = false;
#ifdef M_REQUEST_BEFORE_SYNC
    r_out[me] = true;
#endif
    printf("%d stands in term %d\n", me, term[me]) }
}

#ifdef M_VOTE_ANY_LOG
#define UP_TO_DATE(c) true
#else
#define UP_TO_DATE(c) (r_last[c] > LAST(me) || (r_last[c] == LAST(me) && r_length[c] >= length[me]))
#endif

inline vote(c) {
  atomic { r_out[c] && (r_term[c] > term[me] ||
           (r_term[c] == term[me] && voted[me] == 0 && role[me] != LEADER)) ->
    adopt(me, r_term[c]);
    if
    :: UP_TO_DATE(c) -> voted[me] = c + 1; vote_for[me] = c + 1;
#ifdef M_VOTE_BEFORE_SYNC
         deliver_vote(me, c); vote_for[me] = 0;
#endif
         printf("%d votes for %d in term %d\n", me, c, term[me])
    :: else
    fi }
}

inline win() {
  atomic { role[me] == CANDIDATE && MAJORITY(got[me]) ->
    role[me] = LEADER; got[me] = 0; EVERY(1) ACKS(me, k) = 0; DONE;
    printf("%d leads term %d with %d entries\n", me, term[me], length[me]);
    EVERY(1) assert(committed[k] == 0 || term[me] < in_term[k] || LOG(me, k) == committed[k]); DONE }
}

inline propose() {
  atomic { role[me] == LEADER && length[me] < LEN ->
    length[me]++; LOG(me, length[me]) = ENTRY(term[me], me); printf("%d appends entry %d of term %d\n", me, length[me], term[me]) }
}

inline send(n) {
  atomic { role[me] == LEADER && length[me] >= n && (a_term[AT(me, n)] != term[me] || a_entry[AT(me, n)] != LOG(me, n)) ->
    a_term[AT(me, n)] = term[me]; a_entry[AT(me, n)] = LOG(me, n);
    a_prev[AT(me, n)] = (n == 1 -> 0 : TERM(LOG(me, n - 1))) }
}

inline acknowledge(a, n) {
  ack_to[me] = a + 1; ack_term[me] = a_term[AT(a, n)];
#ifdef M_ACK_TAIL
  ack_index[me] = length[me];
#else
  ack_index[me] = n;
#endif
#ifdef M_ACK_BEFORE_SYNC
  deliver_ack(me, a, ack_term[me], ack_index[me]); ack_to[me] = 0; ack_term[me] = 0; ack_index[me] = 0;
#endif
  printf("%d has %d's append %d\n", me, a, n)
}

inline hear(a) {                  /* an empty append, for M_RESET_VOTE */
  atomic { role[a] == LEADER && term[a] == term[me] && role[me] != LEADER && voted[me] != 0 -> voted[me] = 0; printf("%d forgets its vote\n", me) }
}

inline receive(a, n) {            /* an append of server a for index n */
  atomic { a_term[AT(a, n)] >= term[me] && a_term[AT(a, n)] > 0 && role[me] != LEADER && length[me] >= n - 1 &&
           (n == 1 || TERM(LOG(me, n - 1)) == a_prev[AT(a, n)]) && ack_to[me] == 0 ->
    adopt(me, a_term[AT(a, n)]);
    if :: role[me] == CANDIDATE -> step_down(me) :: else fi;
    if
    :: length[me] >= n && LOG(me, n) == a_entry[AT(a, n)] -> acknowledge(a, n)
    :: length[me] >= n && LOG(me, n) != a_entry[AT(a, n)] ->      /* cut first: a crash may fall in between */
         EVERY(n) LOG(me, k) = 0; DONE; length[me] = n - 1; printf("%d cuts its log to %d\n", me, n - 1)
    :: length[me] < n -> length[me] = n; LOG(me, n) = a_entry[AT(a, n)]; acknowledge(a, n)
    fi }
}

#ifdef M_COUNT_SELF
#define OWN(n) BIT(me)
#else
#define OWN(n) (d_length[me] >= n && D_LOG(me, n) == LOG(me, n) -> BIT(me) : 0)
#endif
#ifdef M_COMMIT_OLD_TERM
#define MAY_COUNT(n) true
#else
#define MAY_COUNT(n) (TERM(LOG(me, n)) == term[me])
#endif

inline commit_one(x) {
  assert(committed[x] == 0 || committed[x] == LOG(me, x));
  if :: committed[x] == 0 -> committed[x] = LOG(me, x); in_term[x] = term[me] :: else fi
}
inline commit(n) {
  atomic { role[me] == LEADER && length[me] >= n && committed[n] != LOG(me, n) && MAY_COUNT(n) && MAJORITY(ACKS(me, n) | OWN(n)) ->
    printf("%d commits index %d of term %d\n", me, n, TERM(LOG(me, n)));
    EVERY(1) if :: k <= n -> commit_one(k) :: else fi; DONE }
}

#ifdef M_APPLY_UNSYNCED
#define IN_LOG(n) (length[me] >= n && LOG(me, n) == committed[n])
#else
#define IN_LOG(n) (d_length[me] >= n && D_LOG(me, n) == committed[n])
#endif
inline apply(n) {                 /* and flush */
  atomic { applied[me] == n - 1 && committed[n] > 0 && IN_LOG(n) -> applied[me] = n; printf("%d applies %d\n", me, n) }
}

inline crash() {
  atomic { crashes < CRASHES -> crashes++;
    term[me] = d_term[me]; voted[me] = d_voted[me]; length[me] = d_length[me];
    EVERY(1) LOG(me, k) = D_LOG(me, k); DONE;
    EVERY(2) assert(k > length[me] || TERM(LOG(me, k - 1)) <= TERM(LOG(me, k))); DONE;
    step_down(me); vote_for[me] = 0; ack_to[me] = 0; ack_term[me] = 0; ack_index[me] = 0;
    printf("%d crashes and restarts in term %d with %d entries\n", me, term[me], length[me]);
    assert(applied[me] <= length[me]) }
}

#define A ((me + 1) % 3)
#define B ((me + 2) % 3)

proctype Voter(byte me) {
  byte k;
  do
  :: stand()
  :: vote(A)
  :: vote(B)
  :: win()
  :: propose()
  :: send(1)
  :: receive(A, 1)
  :: receive(B, 1)
  :: commit(1)
#if LEN > 1
  :: send(2)
  :: receive(A, 2)
  :: receive(B, 2)
  :: commit(2)
#endif
#if LEN > 2
  :: send(3)
  :: receive(A, 3)
  :: receive(B, 3)
  :: commit(3)
#endif
#ifdef M_RESET_VOTE
  :: hear(A)
  :: hear(B)
#endif
#if defined(APPLY) || defined(M_APPLY_UNSYNCED)
  :: apply(1)
#endif
  :: sync()
  :: crash()
  od
}

init { atomic {
  term[0] = 1; term[1] = 1; term[2] = 1; d_term[0] = 1; d_term[1] = 1; d_term[2] = 1;
  voted[0] = 1; voted[1] = 1; d_voted[0] = 1; d_voted[1] = 1; role[0] = LEADER;      /* 0 leads term 1 */
  run Voter(0); run Voter(1); run Voter(2) } }
