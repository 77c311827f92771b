package approval_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/approval"
	"github.com/keyhold/keyhold/internal/kms"
)

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	one   = [32]byte{1}
)

func party(name, credential string) approval.Party {
	return approval.Party{Home: "default", Name: name, Method: kms.AuthToken, Credential: credential}
}

var alice = party("alice", "t-alice")

func asked(t testing.TB, needed int) approval.Request {
	t.Helper()
	r, err := approval.New(approval.Request{ID: kms.ID{7}, Namespace: "default", Action: kms.RotateKey, Digest: one, By: alice, Needed: needed}, start, 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func standing(*approval.Vote) (bool, error) { return true, nil }

func TestARequestHasLimits(t *testing.T) {
	for _, c := range []struct {
		needed int
		life   time.Duration
		want   kms.Code
	}{
		{1, 0, 0}, {16, time.Minute, 0}, {2, 7 * 24 * time.Hour, 0},
		{0, 0, kms.CodeBadRequest}, {17, 0, kms.CodeBadRequest}, {-1, 0, kms.CodeBadRequest},
		{1, time.Minute - 1, kms.CodeBadRequest}, {1, 7*24*time.Hour + 1, kms.CodeBadRequest}, {1, -time.Hour, kms.CodeBadRequest},
	} {
		r, err := approval.New(approval.Request{Needed: c.needed, By: alice, End: approval.EndUsed, Votes: make([]approval.Vote, 3)}, start.Add(time.Nanosecond), c.life)
		if kms.CodeOf(err) != c.want {
			t.Errorf("%d approvers, %s: got %v, want %s", c.needed, c.life, err, c.want)
		}
		if err == nil && (r.StateAt(start) != approval.Pending || len(r.Votes) != 0 || r.Expires.Nanosecond() != 0 || r.Expires.Sub(start) > max(c.life, 24*time.Hour)) {
			t.Errorf("%d approvers, %s: began as %+v", c.needed, c.life, r)
		}
	}
}

// TestEveryMoveFromEveryState has a row for each state and a column for each move.
func TestEveryMoveFromEveryState(t *testing.T) {
	bob, carl := party("bob", "t-bob"), party("carl", "t-carl")
	give := func(r approval.Request, by approval.Party, yes bool) approval.Request {
		r, err := r.Give(by, yes, "", start)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	pending, approved := asked(t, 1), give(asked(t, 1), bob, true)
	refused := give(asked(t, 1), bob, false)
	withdrawn, err := pending.Withdraw(alice, start)
	if err != nil {
		t.Fatal(err)
	}
	used, _, err := approved.Use(alice, one, 1, start, standing)
	if err != nil {
		t.Fatal(err)
	}
	const no = approval.State(0)
	for _, c := range []struct {
		r    approval.Request
		at   time.Time
		is   approval.State
		then [4]approval.State // after: approve, refuse, withdraw, use; 0: refused, and nothing changes
	}{
		{pending, start, approval.Pending, [4]approval.State{approval.Approved, approval.Refused, approval.Withdrawn, no}},
		{approved, start, approval.Approved, [4]approval.State{approval.Approved, approval.Refused, approval.Withdrawn, approval.Used}},
		{refused, start, approval.Refused, [4]approval.State{}},
		{withdrawn, start, approval.Withdrawn, [4]approval.State{}},
		{used, start, approval.Used, [4]approval.State{}},
		{pending, pending.Expires, approval.Expired, [4]approval.State{}},
		{approved, approved.Expires, approval.Expired, [4]approval.State{}},
		{approved, approved.Expires.Add(-1), approval.Approved, [4]approval.State{approval.Approved, approval.Refused, approval.Withdrawn, approval.Used}},
		{used, used.Expires.Add(time.Hour), approval.Used, [4]approval.State{}},
		{approval.Request{Needed: 1, End: 99, Expires: start.Add(time.Hour)}, start, approval.Withdrawn, [4]approval.State{}},
	} {
		if got := c.r.StateAt(c.at); got != c.is {
			t.Errorf("got %s, want %s", got, c.is)
		}
		moves := [4]func() (approval.Request, error){
			func() (approval.Request, error) { return c.r.Give(carl, true, "", c.at) },
			func() (approval.Request, error) { return c.r.Give(carl, false, "", c.at) },
			func() (approval.Request, error) { return c.r.Withdraw(alice, c.at) },
			func() (approval.Request, error) {
				r, _, err := c.r.Use(alice, one, 1, c.at, standing)
				return r, err
			},
		}
		for i, move := range moves {
			before := fmt.Sprintf("%+v", c.r)
			r, err := move()
			switch {
			case c.then[i] == no && (kms.CodeOf(err) != kms.CodeNotApproved || fmt.Sprintf("%+v", r) != before):
				t.Errorf("%s, move %d: got %v and %+v, want a refusal and no change", c.is, i, err, r)
			case c.then[i] != no && (err != nil || r.StateAt(c.at) != c.then[i]):
				t.Errorf("%s, move %d: got %s, %v, want %s", c.is, i, r.StateAt(c.at), err, c.then[i])
			}
			if after := fmt.Sprintf("%+v", c.r); after != before {
				t.Errorf("%s, move %d: changed the value that it was called on", c.is, i)
			}
		}
	}
}

func TestStatesHaveNames(t *testing.T) {
	for _, s := range approval.AllStates() {
		if got, err := approval.ParseState(s.String()); err != nil || got != s {
			t.Errorf("%s: got %s, %v", s, got, err)
		}
	}
	for _, bad := range []string{"", "Pending", "unknown", string(make([]byte, 1000))} {
		if _, err := approval.ParseState(bad); kms.CodeOf(err) != kms.CodeBadRequest || len(err.Error()) > 300 {
			t.Errorf("%.10q: got %v", bad, err)
		}
	}
	if got := approval.State(99).String(); got != "unknown" {
		t.Errorf("got %s", got)
	}
}

func TestWhoMayApprove(t *testing.T) {
	for name, c := range map[string]struct {
		by   approval.Party
		want kms.Code
	}{
		"somebody else":                  {party("bob", "t-bob"), 0},
		"who asked":                      {alice, kms.CodeDuties},
		"who asked, by another token":    {party("alice", "t-other"), kms.CodeDuties},
		"who asked, by another name":     {party("mallory", "t-alice"), kms.CodeDuties},
		"a namesake of another home":     {approval.Party{Home: "other", Name: "alice", Method: kms.AuthToken, Credential: "t-x"}, 0},
		"a certificate of the same text": {approval.Party{Home: "default", Name: "bob", Method: kms.AuthCertificate, Credential: "t-alice"}, 0},
		"a token without an id":          {party("bob", ""), kms.CodeDuties},
		"the local socket":               {approval.Party{Home: "system", Name: "uid:0", Method: kms.AuthLocal, Credential: "x"}, kms.CodeDuties},
		"the server":                     {approval.Party{Home: "system", Name: "keyhold", Method: kms.AuthSystem, Credential: "x"}, kms.CodeDuties},
		"nobody":                         {approval.Party{}, kms.CodeDuties},
	} {
		for _, yes := range []bool{true, false} {
			if _, err := asked(t, 1).Give(c.by, yes, "", start); kms.CodeOf(err) != c.want {
				t.Errorf("%s, %v: got %v, want %s", name, yes, err, c.want)
			}
		}
	}
}

func TestUseIsExact(t *testing.T) {
	bob := party("bob", "t-bob")
	r, err := asked(t, 1).Give(bob, true, "", start)
	if err != nil {
		t.Fatal(err)
	}
	fault := errors.New("the store failed")
	for name, c := range map[string]struct {
		by     approval.Party
		digest [32]byte
		needed int
		stands func(*approval.Vote) (bool, error)
		want   error
	}{
		"as asked":                 {alice, one, 1, standing, nil},
		"under a newer token":      {party("alice", "t-new"), one, 1, standing, nil},
		"by somebody else":         {bob, one, 1, standing, kms.Errorf(kms.CodeNotApproved, "")},
		"by a name of her token's": {party("mallory", "t-alice"), one, 1, standing, kms.Errorf(kms.CodeNotApproved, "")},
		"one bit off":              {alice, [32]byte{1, 31: 1}, 1, standing, kms.Errorf(kms.CodeNotApproved, "")},
		"rules became stricter":    {alice, one, 2, standing, kms.Errorf(kms.CodeNotApproved, "")},
		"no rule any more":         {alice, one, 0, standing, nil},
		"revoked":                  {alice, one, 1, func(*approval.Vote) (bool, error) { return false, nil }, kms.Errorf(kms.CodeNotApproved, "")},
		"not known":                {alice, one, 1, func(*approval.Vote) (bool, error) { return true, fault }, fault},
	} {
		got, counted, err := r.Use(c.by, c.digest, c.needed, start, c.stands)
		if !errors.Is(err, c.want) || err == nil && (got.StateAt(start) != approval.Used || len(counted) != 1 || counted[0] != bob) || err != nil && got.End != approval.Open {
			t.Errorf("%s: got %v, %v", name, counted, err)
		}
	}
	// A request never needs fewer than when it was asked.
	r, _ = asked(t, 2).Give(bob, true, "", start)
	if _, _, err := r.Use(alice, one, 1, start, standing); kms.CodeOf(err) != kms.CodeNotApproved {
		t.Errorf("the weaker rule of now: got %v", err)
	}
	// Votes that were stored by whatever mistake do not count twice, nor for who asked.
	r.Votes = []approval.Vote{{By: bob, For: true}, {By: party("bob", "t-2"), For: true}, {By: party("robert", "t-bob"), For: true}, {By: alice, For: true}}
	if _, _, err := r.Use(alice, one, 1, start, standing); kms.CodeOf(err) != kms.CodeNotApproved {
		t.Errorf("one approver four times: got %v", err)
	}
}

func TestARequestHoldsSixteenApprovals(t *testing.T) {
	r := asked(t, 16)
	for i := range approval.MaxApprovers {
		var err error
		if r, err = r.Give(party(fmt.Sprint("a", i), fmt.Sprint("t-", i)), true, "", start); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Give(party("more", "t-more"), true, "", start); kms.CodeOf(err) != kms.CodeTooLarge {
		t.Errorf("one more: got %v", err)
	}
	if n, err := r.Give(party("more", "t-more"), false, "", start); err != nil || n.StateAt(start) != approval.Refused {
		t.Errorf("a refusal is always heard: got %v", err)
	}
}

// FuzzMoves plays any sequence of moves by a few principals and credentials, and holds what comes of it against the invariants, stated a second time.
func FuzzMoves(f *testing.F) {
	f.Add([]byte{2, 0x11, 0x22, 0x30})
	f.Add([]byte{1, 0x11, 0x91, 0x30, 0x30})
	f.Add([]byte{3, 0x11, 0x12, 0x21, 0x33, 0x30, 0x44})
	f.Fuzz(func(t *testing.T, play []byte) {
		if len(play) == 0 || len(play) > 64 {
			return
		}
		needed := int(play[0])%3 + 1
		r := asked(t, needed)
		now := start
		uses := 0
		for _, b := range play[1:] {
			by := party([]string{"alice", "bob", "carl", "dora"}[b&3], []string{"t-alice", "t-1", "t-2", "t-3"}[b>>2&3])
			before := r.StateAt(now)
			var err error
			switch b >> 4 {
			case 0, 1, 2, 3, 4, 5:
				r, err = r.Give(by, true, "", now)
			case 6, 7:
				r, err = r.Give(by, false, "", now)
			case 8:
				r, err = r.Withdraw(by, now)
			case 9:
				now = now.Add(5 * time.Hour)
			default:
				var counted []approval.Party
				if r, counted, err = r.Use(by, one, 1, now, standing); err == nil {
					uses++
					names, credentials := map[string]bool{}, map[string]bool{}
					for _, c := range counted {
						names[c.Name], credentials[c.Credential] = true, true
					}
					if by.Name != "alice" || names["alice"] || credentials["t-alice"] || len(names) < needed || len(credentials) < needed {
						t.Fatalf("%x: admitted %s by %v, %d needed", play, by.Name, counted, needed)
					}
				}
			}
			if err != nil && kms.AsError(err).Kind() == kms.KindInternal {
				t.Fatalf("%x: %v", play, err)
			}
			if before.Over() && r.StateAt(now) != before {
				t.Fatalf("%x: from %s to %s", play, before, r.StateAt(now))
			}
			if uses > 1 || len(r.Votes) > approval.MaxApprovers+1 {
				t.Fatalf("%x: used %d times, %d votes", play, uses, len(r.Votes))
			}
			if slices.ContainsFunc(r.Votes, func(v approval.Vote) bool { return v.By.Name == "alice" || v.By.Credential == "t-alice" }) {
				t.Fatalf("%x: who asked has a vote", play)
			}
		}
	})
}
