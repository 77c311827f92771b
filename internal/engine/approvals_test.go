package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/approval"
	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// holder is a call by the holder of a token of its own.
func (w *world) holder(name string, roles ...kms.Role) kms.Call {
	w.t.Helper()
	out, err := w.e.CreateToken(w.t.Context(), operator2(), engine.CreateTokenInput{Principal: name, Roles: roles, TTL: 30 * 24 * time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := w.e.Identities().Token(w.t.Context(), out.Info.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	c := as(name)
	c.Principal = &id.Principal
	return c
}

// operator2 is an operator who works in the default namespace.
func operator2() kms.Call {
	c := operator()
	c.Namespace = kms.DefaultNamespace
	return c
}

// bearer is a call by the holder of a client certificate.
func (w *world) bearer(subject, name string, roles ...kms.Role) kms.Call {
	w.t.Helper()
	if _, err := w.e.CreateCredential(w.t.Context(), operator2(), engine.CreateCredentialInput{Subject: subject, Principal: name, Roles: roles}); err != nil {
		w.t.Fatal(err)
	}
	id, err := w.e.Identities().Certificate(w.t.Context(), subject)
	if err != nil {
		w.t.Fatal(err)
	}
	c := as(name)
	c.Principal = &id.Principal
	return c
}

// rule puts an action of the default namespace under approval.
func (w *world) rule(a kms.Action, n int) {
	w.t.Helper()
	if _, err := w.e.UpdateNamespace(w.t.Context(), admin, engine.NamespaceInput{Name: kms.DefaultNamespace, Approvals: []engine.ApprovalRule{{Action: a, Approvers: n}}}); err != nil {
		w.t.Fatal(err)
	}
}

func asking(c kms.Call) kms.Call {
	c.Ask = true
	return c
}

func under(c kms.Call, id kms.ID) kms.Call {
	c.Approval = id
	return c
}

// askedFor is the id of the request that an answer to asking names.
func askedFor(t testing.TB, err error) kms.ID {
	t.Helper()
	var e *kms.Error
	if !errors.As(err, &e) || e.Code != kms.CodeApprovalRequired || e.Approval.IsZero() {
		t.Fatalf("asked: got %v, want %s with the id of a request", err, kms.CodeApprovalRequired)
	}
	return e.Approval
}

func (w *world) approve(c kms.Call, id kms.ID) error {
	return second(w.e.GiveApproval(w.t.Context(), c, engine.GiveApprovalInput{ID: id, Approve: true}))
}

func (w *world) destroyAs(c kms.Call, key string) error {
	_, _ = w.e.AssessKey(w.t.Context(), admin, engine.AssessInput{Key: kms.Ref(key)}) // of a key that is there
	return second(w.e.ScheduleKeyDestruction(w.t.Context(), c, engine.DestroyInput{Key: kms.Ref(key)}))
}

// TestTwoOthersApproveExactlyOneRequest goes the whole way: ACC-4, P14.
func TestTwoOthersApproveExactlyOneRequest(t *testing.T) {
	w := newWorld(t)
	alice, bob, carl := w.holder("alice", kms.RoleAdmin), w.holder("bob", kms.RoleAdmin), w.bearer("spiffe://x/carl", "carl", kms.RoleAdmin)
	w.create("orders", kms.AES256GCM, 0)
	w.create("other", kms.AES256GCM, 0)
	w.rule(kms.ScheduleKeyDestruction, 2)
	wantCode(t, w.destroyAs(alice, "orders"), kms.CodeApprovalRequired)

	alice.Reason = "customer left"
	id := askedFor(t, w.destroyAs(asking(alice), "orders"))
	seen, err := w.e.DescribeApproval(t.Context(), bob, engine.ApprovalInput{ID: id})
	wantCode(t, err, 0)
	a := seen.Approval
	if a.Action != kms.ScheduleKeyDestruction || a.Resource != "orders" || a.Needed != 2 || a.Reason != "customer left" || a.By.Name != "alice" || a.State != approval.Pending ||
		len(a.Terms) == 0 || a.Terms[0] != (approval.Term{Name: "key", Value: "orders"}) || !a.Expires.Equal(w.now.Add(24*time.Hour)) {
		t.Fatalf("approvers see %+v", a)
	}
	if out, err := w.e.DescribeKey(t.Context(), alice, engine.KeyInput{Key: "orders"}); err != nil || out.Key.Switch != kms.Enabled {
		t.Fatalf("asking changed the key: %v, %v", out.Key.Switch, err)
	}

	wantCode(t, w.destroyAs(under(alice, id), "orders"), kms.CodeNotApproved)
	wantCode(t, w.approve(alice, id), kms.CodeDuties)
	wantCode(t, w.approve(w.holder("dora", kms.RoleUser), id), kms.CodeDenied)
	wantCode(t, second(w.e.GiveApproval(t.Context(), bob, engine.GiveApprovalInput{ID: id, Approve: true, Digest: make([]byte, 32)})), kms.CodeNotApproved)
	wantCode(t, second(w.e.GiveApproval(t.Context(), bob, engine.GiveApprovalInput{ID: id, Approve: true, Digest: a.Digest[:]})), 0)
	wantCode(t, w.approve(bob, id), kms.CodeExists)
	wantCode(t, w.destroyAs(under(alice, id), "orders"), kms.CodeNotApproved)
	wantCode(t, w.approve(carl, id), 0)

	// Of this request, by this caller, and nothing else.
	wantCode(t, w.destroyAs(under(alice, id), "other"), kms.CodeNotApproved)
	wantCode(t, w.destroyAs(under(bob, id), "orders"), kms.CodeNotApproved)
	wantCode(t, second(w.e.ScheduleKeyDestruction(t.Context(), under(alice, id), engine.DestroyInput{Key: "orders", Window: 8 * 24 * time.Hour})), kms.CodeNotApproved)
	wantCode(t, second(w.e.DisableKey(t.Context(), under(alice, id), engine.KeyInput{Key: "orders"})), kms.CodeNotApproved)
	dry := under(alice, id)
	dry.DryRun = true
	wantCode(t, w.destroyAs(dry, "orders"), 0)
	wantCode(t, w.destroyAs(under(alice, id), "orders"), 0)

	recs := w.records(audit.Filter{Action: kms.ScheduleKeyDestruction, Outcome: audit.OK})
	if len(recs) != 1 || recs[0].Approval != id || len(recs[0].Approvers) != 2 || recs[0].Approvers[0] != bob.Principal.Alias || recs[0].Approvers[1] != carl.Principal.Alias {
		t.Fatalf("the record names %v: %+v", recs[0].Approval, recs[0].Approvers)
	}
	// Once.
	_, err = w.e.CancelKeyDestruction(t.Context(), alice, engine.CancelInput{Key: "orders"})
	wantCode(t, err, 0)
	wantCode(t, w.destroyAs(under(alice, id), "orders"), kms.CodeNotApproved)
	wantCode(t, w.approve(w.holder("erin", kms.RoleAdmin), id), kms.CodeNotApproved)
	seen, err = w.e.DescribeApproval(t.Context(), carol, engine.ApprovalInput{ID: id})
	if err != nil || seen.Approval.State != approval.Used || len(seen.Approval.Votes) != 2 {
		t.Errorf("afterwards: %+v, %v", seen.Approval, err)
	}
	for action, want := range map[kms.Action]int{kms.RequestApproval: 1, kms.GiveApproval: 2} {
		got := w.records(audit.Filter{Action: action, Outcome: audit.OK})
		if len(got) != want || !got[0].Change || got[0].Resource != id.String() {
			t.Errorf("%s: %d records of success, want %d: %+v", action, len(got), want, got)
		}
	}
}

// A key's name can be given to another key while approvers think: what they approved is the key, not the name.
func TestAnApprovalIsOfTheKeyNotOfItsName(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.holder("alice", kms.RoleAdmin), w.holder("bob", kms.RoleAdmin)
	w.create("old", kms.AES256GCM, 0)
	w.create("new", kms.AES256GCM, 0)
	w.rule(kms.ScheduleKeyDestruction, 1)
	id := askedFor(t, w.destroyAs(asking(alice), "old"))
	wantCode(t, w.approve(bob, id), 0)
	for from, to := range map[kms.Ref]string{"old": "older", "new": "old"} {
		if _, err := w.e.UpdateKey(t.Context(), alice, engine.UpdateKeyInput{Key: from, Name: &to}); err != nil {
			if from == "new" { // in the other order the name is still taken
				_, err = w.e.UpdateKey(t.Context(), alice, engine.UpdateKeyInput{Key: "old", Name: ptr("older")})
				wantCode(t, err, 0)
				_, err = w.e.UpdateKey(t.Context(), alice, engine.UpdateKeyInput{Key: "new", Name: ptr("old")})
				wantCode(t, err, 0)
				break
			}
			t.Fatal(err)
		}
	}
	wantCode(t, w.destroyAs(under(alice, id), "old"), kms.CodeNotApproved)
}

func ptr[T any](v T) *T { return &v }

// One person with two tokens, or one certificate under two names, is one approver.
func TestNobodyCountsTwice(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.holder("alice", kms.RoleAdmin), w.holder("bob", kms.RoleAdmin)
	w.create("orders", kms.AES256GCM, 0)
	w.rule(kms.ScheduleKeyDestruction, 2)
	id := askedFor(t, w.destroyAs(asking(alice), "orders"))
	wantCode(t, w.approve(w.holder("alice", kms.RoleAdmin), id), kms.CodeDuties) // another token of hers
	wantCode(t, w.approve(bob, id), 0)
	wantCode(t, w.approve(w.holder("bob", kms.RoleAdmin), id), kms.CodeExists)

	carl := w.bearer("spiffe://x/one", "carl", kms.RoleAdmin)
	other := *carl.Principal
	other.Name = "carla"
	twice := carl
	twice.Principal = &other
	wantCode(t, w.approve(carl, id), 0)
	wantCode(t, w.approve(twice, id), kms.CodeExists)
	hers := alice
	renamed := *alice.Principal
	renamed.Name = "alicia"
	hers.Principal = &renamed
	wantCode(t, w.approve(hers, id), kms.CodeDuties)
	// Who comes without a credential that can be looked up later cannot approve.
	nobody := local()
	nobody.Principal.Roles, nobody.Namespace = []kms.Role{kms.RoleOperator}, kms.DefaultNamespace
	wantCode(t, w.approve(nobody, id), kms.CodeDuties)
}

// An approval by somebody whose credential was revoked since does not count, until others make up for it.
func TestARevokedApproverNoLongerCounts(t *testing.T) {
	w := newWorld(t)
	alice, bob, carl, dora := w.holder("alice", kms.RoleAdmin), w.holder("bob", kms.RoleAdmin), w.bearer("spiffe://x/carl", "carl", kms.RoleAdmin), w.holder("dora", kms.RoleAdmin)
	w.create("orders", kms.AES256GCM, 0)
	w.rule(kms.ScheduleKeyDestruction, 2)
	id := askedFor(t, w.destroyAs(asking(alice), "orders"))
	for _, c := range []kms.Call{bob, carl} {
		wantCode(t, w.approve(c, id), 0)
	}
	token, _ := kms.ParseID(bob.Principal.Credential)
	_, err := w.e.RevokeToken(t.Context(), admin, engine.IDInput{ID: token})
	wantCode(t, err, 0)
	err = w.destroyAs(under(alice, id), "orders")
	wantCode(t, err, kms.CodeNotApproved)
	if !strings.Contains(err.Error(), "1 of the 2") {
		t.Errorf("got %v", err)
	}
	wantCode(t, w.approve(dora, id), 0)
	// The certificate's binding ends and is made anew: what it said before does not come back.
	_, err = w.e.RevokeCredential(t.Context(), admin, engine.SubjectInput{Subject: "spiffe://x/carl"})
	wantCode(t, err, 0)
	w.now = w.now.Add(time.Minute)
	w.bearer("spiffe://x/carl", "carl", kms.RoleAdmin)
	wantCode(t, w.destroyAs(under(alice, id), "orders"), kms.CodeNotApproved)
	wantCode(t, w.approve(w.holder("erin", kms.RoleAdmin), id), 0)
	wantCode(t, w.destroyAs(under(alice, id), "orders"), 0)
}

func TestARequestIsOverAtItsSecond(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.holder("alice", kms.RoleAdmin), w.holder("bob", kms.RoleAdmin)
	w.create("orders", kms.AES256GCM, 0)
	w.rule(kms.ScheduleKeyDestruction, 1)
	ask := asking(alice)
	for life, want := range map[time.Duration]kms.Code{time.Second: kms.CodeBadRequest, 8 * 24 * time.Hour: kms.CodeBadRequest} {
		ask.AskFor = life
		wantCode(t, w.destroyAs(ask, "orders"), want)
	}
	ask.AskFor = time.Hour
	one, two := askedFor(t, w.destroyAs(ask, "orders")), askedFor(t, w.destroyAs(ask, "orders"))
	wantCode(t, w.approve(bob, one), 0)
	end := w.now.Add(time.Hour)
	w.now = end.Add(-time.Nanosecond)
	dry := under(alice, one)
	dry.DryRun = true
	wantCode(t, w.destroyAs(dry, "orders"), 0)
	w.now = end
	wantCode(t, w.destroyAs(under(alice, one), "orders"), kms.CodeNotApproved)
	wantCode(t, w.approve(bob, two), kms.CodeNotApproved)
	out, err := w.e.ListApprovals(t.Context(), alice, engine.ApprovalsInput{State: "expired"})
	if err != nil || len(out.Approvals) != 2 {
		t.Errorf("%d are expired, %v; want 2", len(out.Approvals), err)
	}
}

// However many try at once, an approval admits one.
func TestAnApprovalIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.holder("alice", kms.RoleAdmin), w.holder("bob", kms.RoleAdmin)
	w.create("orders", kms.AES256GCM, 0)
	w.rule(kms.RotateKey, 1)
	rotate := func(c kms.Call) error {
		return second(w.e.RotateKey(t.Context(), c, engine.RotateKeyInput{Key: "orders"}))
	}
	id := askedFor(t, rotate(asking(alice)))
	wantCode(t, w.approve(bob, id), 0)
	var wg sync.WaitGroup
	codes := make([]kms.Code, 16)
	for i := range codes {
		wg.Go(func() { codes[i] = kms.CodeOf(rotate(under(alice, id))) })
	}
	wg.Wait()
	done := 0
	for _, c := range codes {
		switch c {
		case 0:
			done++
		case kms.CodeNotApproved, kms.CodeConflict:
		default:
			t.Errorf("one of them got %s", c)
		}
	}
	out, err := w.e.DescribeKey(t.Context(), alice, engine.KeyInput{Key: "orders"})
	if done != 1 || err != nil || out.Key.Latest != 2 {
		t.Errorf("%d were admitted, the key has version %d, %v; want 1, 2", done, out.Key.Latest, err)
	}
}

// A repetition with the idempotency token is answered as the first time, although the approval is used up; so is asking.
func TestARepetitionNeedsNoSecondApproval(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.holder("alice", kms.RoleAdmin), w.holder("bob", kms.RoleAdmin)
	w.create("orders", kms.AES256GCM, 0)
	w.rule(kms.RotateKey, 1)
	alice.Token = "deploy-17"
	rotate := func(c kms.Call) error {
		return second(w.e.RotateKey(t.Context(), c, engine.RotateKeyInput{Key: "orders"}))
	}
	id := askedFor(t, rotate(asking(alice)))
	if again := askedFor(t, rotate(asking(alice))); again != id {
		t.Errorf("the repetition asked anew: %s, then %s", id, again)
	}
	wantCode(t, w.approve(bob, id), 0)
	for range 3 {
		wantCode(t, rotate(under(alice, id)), 0)
	}
	w.restart()
	wantCode(t, rotate(under(alice, id)), 0)
	other := under(alice, id)
	other.Token = "deploy-18"
	wantCode(t, rotate(other), kms.CodeNotApproved)
	if out, err := w.e.DescribeKey(t.Context(), alice, engine.KeyInput{Key: "orders"}); err != nil || out.Key.Latest != 2 {
		t.Errorf("version %d, %v; want 2", out.Key.Latest, err)
	}
}

func TestOneRefusalEndsARequest(t *testing.T) {
	w := newWorld(t)
	alice, bob, carl := w.holder("alice", kms.RoleAdmin), w.holder("bob", kms.RoleAdmin), w.holder("carl", kms.RoleAdmin)
	w.create("orders", kms.AES256GCM, 0)
	w.rule(kms.ScheduleKeyDestruction, 1)
	id := askedFor(t, w.destroyAs(asking(alice), "orders"))
	refuse := func(c kms.Call) error {
		return second(w.e.GiveApproval(t.Context(), c, engine.GiveApprovalInput{ID: id}))
	}
	wantCode(t, refuse(alice), kms.CodeDuties)
	wantCode(t, w.approve(bob, id), 0)
	wantCode(t, refuse(carl), 0) // although it could be used
	wantCode(t, w.destroyAs(under(alice, id), "orders"), kms.CodeNotApproved)
	wantCode(t, w.approve(bob, id), kms.CodeNotApproved)

	id = askedFor(t, w.destroyAs(asking(alice), "orders"))
	wantCode(t, w.approve(bob, id), 0)
	wantCode(t, refuse(bob), 0) // changes his mind
	wantCode(t, w.destroyAs(under(alice, id), "orders"), kms.CodeNotApproved)

	id = askedFor(t, w.destroyAs(asking(alice), "orders"))
	wantCode(t, second(w.e.WithdrawApproval(t.Context(), bob, engine.ApprovalInput{ID: id})), kms.CodeDuties)
	wantCode(t, second(w.e.WithdrawApproval(t.Context(), alice, engine.ApprovalInput{ID: id})), 0)
	wantCode(t, w.approve(bob, id), kms.CodeNotApproved)
	wantCode(t, second(w.e.WithdrawApproval(t.Context(), alice, engine.ApprovalInput{ID: kms.ID{9}})), kms.CodeNotFound)
}

// What could not be carried out anyway is not put before others, and nor is what needs nobody.
func TestOnlyWhatCanBeDoneIsAskedFor(t *testing.T) {
	w := newWorld(t)
	alice := w.holder("alice", kms.RoleAdmin)
	w.create("orders", kms.AES256GCM, 0)
	wantCode(t, w.destroyAs(asking(alice), "orders"), kms.CodeBadRequest) // no rule
	w.rule(kms.ScheduleKeyDestruction, 1)
	wantCode(t, w.destroyAs(asking(alice), "nosuch"), kms.CodeKeyNotFound)
	wantCode(t, w.destroyAs(asking(w.holder("svc/x", kms.RoleUser)), "orders"), kms.CodeDenied)
	both := asking(alice)
	both.Approval = kms.ID{1}
	wantCode(t, w.destroyAs(both, "orders"), kms.CodeBadRequest)
	wantCode(t, w.destroyAs(under(alice, kms.ID{1}), "orders"), kms.CodeNotApproved)
	// A dry run says what the request would lack, after everything else that may be wrong with it.
	dry := alice
	dry.DryRun = true
	wantCode(t, w.destroyAs(dry, "nosuch"), kms.CodeKeyNotFound)
	err := w.destroyAs(dry, "orders")
	wantCode(t, err, kms.CodeApprovalRequired)
	dry.Ask = true
	err = w.destroyAs(dry, "orders")
	var e *kms.Error
	if !errors.As(err, &e) || e.Code != kms.CodeApprovalRequired || !e.Approval.IsZero() {
		t.Errorf("a dry run of asking: %v", err)
	}
	if n := len(w.records(audit.Filter{Action: kms.RequestApproval})); n != 0 {
		t.Errorf("%d requests were recorded, want none", n)
	}
	scoped := *alice.Principal
	scoped.Scope = []kms.Action{kms.ScheduleKeyDestruction}
	c := asking(alice)
	c.Principal = &scoped
	wantCode(t, w.destroyAs(c, "orders"), kms.CodeOutsideScope)
}

// An administrator alone can make the rules stricter, never weaker, and cannot switch separation of duties off once there are rules.
func TestRulesAreWeakenedByApprovalOnly(t *testing.T) {
	w := newWorld(t)
	alice, bob, carl := w.holder("alice", kms.RoleAdmin), w.holder("bob", kms.RoleAdmin), w.holder("carl", kms.RoleAdmin)
	set := func(c kms.Call, rules ...engine.ApprovalRule) error {
		return second(w.e.UpdateNamespace(t.Context(), c, engine.NamespaceInput{Name: kms.DefaultNamespace, Approvals: rules}))
	}
	duties := func(c kms.Call, on bool) error {
		return second(w.e.UpdateNamespace(t.Context(), c, engine.NamespaceInput{Name: kms.DefaultNamespace, SeparationOfDuties: &on}))
	}
	for _, bad := range []engine.ApprovalRule{{kms.Encrypt, 1}, {kms.GiveApproval, 1}, {kms.ReadToken, 1}, {kms.RequestApproval, 1}, {kms.RotateKey, 17}, {kms.RotateKey, -1}, {kms.DestroyKey, 1}} {
		wantCode(t, set(alice, bad), kms.CodeBadRequest)
	}
	wantCode(t, set(alice, engine.ApprovalRule{Action: kms.RotateKey, Approvers: 1}, engine.ApprovalRule{Action: kms.RotateKey, Approvers: 2}), kms.CodeBadRequest)
	// What always takes two takes one only if two say so, although there is no rule yet.
	wantCode(t, set(alice, engine.ApprovalRule{Action: kms.RecallVersion, Approvers: 1}), kms.CodeApprovalRequired)
	wantCode(t, set(alice, engine.ApprovalRule{Action: kms.RotateKey, Approvers: 1}), 0)
	wantCode(t, set(alice, engine.ApprovalRule{Action: kms.RotateKey, Approvers: 2}, engine.ApprovalRule{Action: kms.CreateToken, Approvers: 1}), 0)
	for name, weaker := range map[string]func(kms.Call) error{
		"fewer": func(c kms.Call) error { return set(c, engine.ApprovalRule{Action: kms.RotateKey, Approvers: 1}) },
		"none":  func(c kms.Call) error { return set(c, engine.ApprovalRule{Action: kms.RotateKey}) },
		"mixed": func(c kms.Call) error {
			return set(c, engine.ApprovalRule{Action: kms.RotateKey, Approvers: 1}, engine.ApprovalRule{Action: kms.PutPolicy, Approvers: 3})
		},
		"duties": func(c kms.Call) error { return duties(c, false) },
	} {
		if err := weaker(alice); kms.CodeOf(err) != kms.CodeApprovalRequired {
			t.Errorf("%s: an administrator alone: %v", name, err)
		}
		if err := weaker(operator2()); kms.CodeOf(err) != kms.CodeApprovalRequired {
			t.Errorf("%s: an operator alone: %v", name, err)
		}
	}
	// An accomplice cannot be made alone either.
	wantCode(t, second(w.e.CreateToken(t.Context(), alice, engine.CreateTokenInput{Principal: "mallory", Roles: []kms.Role{kms.RoleAdmin}})), kms.CodeApprovalRequired)
	id := askedFor(t, duties(asking(alice), false))
	for i, c := range []kms.Call{bob, carl} {
		wantCode(t, duties(under(alice, id), false), kms.CodeNotApproved)
		wantCode(t, w.approve(c, id), 0)
		_ = i
	}
	wantCode(t, duties(under(alice, id), true), kms.CodeNotApproved)
	wantCode(t, duties(under(alice, id), false), 0)
	out, err := w.e.DescribeNamespace(t.Context(), alice, engine.NamespaceInput{Name: kms.DefaultNamespace})
	if err != nil || out.Namespace.SeparationOfDuties || len(out.Namespace.Approvals) != 2 || out.Namespace.Approvals[1] != (engine.ApprovalRule{Action: kms.RotateKey, Approvers: 2}) {
		t.Errorf("the namespace is %+v, %v", out.Namespace, err)
	}
	// A rule that was made stricter since counts; one that was weakened since does not help a request that was asked for before.
	w.create("orders", kms.AES256GCM, 0)
	rotate := func(c kms.Call) error {
		return second(w.e.RotateKey(t.Context(), c, engine.RotateKeyInput{Key: "orders"}))
	}
	id = askedFor(t, rotate(asking(alice)))
	for _, c := range []kms.Call{bob, carl} {
		wantCode(t, w.approve(c, id), 0)
	}
	wantCode(t, set(alice, engine.ApprovalRule{Action: kms.RotateKey, Approvers: 3}), 0)
	wantCode(t, rotate(under(alice, id)), kms.CodeNotApproved)
}

// The rules may change while a change of the namespace is on its way: those in force at the commit decide.
func TestRulesThatCameBetweenDecide(t *testing.T) {
	w := newWorld(t)
	off := false
	for i := range 20 {
		ns := kms.Namespace(fmt.Sprintf("tenant-%d", i))
		_, err := w.e.CreateNamespace(t.Context(), operator(), engine.NamespaceInput{Name: ns})
		wantCode(t, err, 0)
		c := operator()
		c.Namespace = ns
		var wg sync.WaitGroup
		var ruled, switched error
		wg.Go(func() {
			_, ruled = w.e.UpdateNamespace(t.Context(), c, engine.NamespaceInput{Name: ns, Approvals: []engine.ApprovalRule{{Action: kms.RotateKey, Approvers: 2}}})
		})
		wg.Go(func() {
			_, switched = w.e.UpdateNamespace(t.Context(), c, engine.NamespaceInput{Name: ns, SeparationOfDuties: &off})
		})
		wg.Wait()
		wantCode(t, ruled, 0)
		if switched == nil { // then it came before the rule, and its record knows of none
			recs := w.records(audit.Filter{Action: kms.UpdateNamespace, Namespace: ns})
			if !slices.ContainsFunc(recs, func(r audit.Entry) bool { return r.Detail == "separation of duties off" }) {
				t.Errorf("%s: switched off after there was a rule", ns)
			}
		} else {
			wantCode(t, switched, kms.CodeApprovalRequired)
		}
	}
}

func TestRequestsForApprovalAreBounded(t *testing.T) {
	w := newWorld(t)
	w.create("orders", kms.AES256GCM, 0)
	w.rule(kms.ScheduleKeyDestruction, 1)
	alice, bob := w.holder("alice", kms.RoleAdmin), w.holder("bob", kms.RoleAdmin)
	var ids []kms.ID
	for range 32 {
		ids = append(ids, askedFor(t, w.destroyAs(asking(alice), "orders")))
	}
	wantCode(t, w.destroyAs(asking(alice), "orders"), kms.CodeRateLimited)
	askedFor(t, w.destroyAs(asking(bob), "orders"))
	wantCode(t, second(w.e.WithdrawApproval(t.Context(), alice, engine.ApprovalInput{ID: ids[0]})), 0)
	askedFor(t, w.destroyAs(asking(alice), "orders"))
	wantCode(t, w.destroyAs(asking(alice), "orders"), kms.CodeRateLimited)

	// Pages, and states.
	var listed []kms.ID
	for page := ""; ; {
		out, err := w.e.ListApprovals(t.Context(), bob, engine.ApprovalsInput{Limit: 10, Page: page, State: "pending"})
		wantCode(t, err, 0)
		for _, a := range out.Approvals {
			listed = append(listed, a.ID)
		}
		if page = out.Next; page == "" {
			break
		}
		if len(out.Approvals) != 10 {
			t.Errorf("a page of %d", len(out.Approvals))
		}
	}
	if len(listed) != 33 {
		t.Errorf("%d are pending, want 33", len(listed))
	}
	wantCode(t, second(w.e.ListApprovals(t.Context(), bob, engine.ApprovalsInput{State: "perhaps"})), kms.CodeBadRequest)
	wantCode(t, second(w.e.ListApprovals(t.Context(), bob, engine.ApprovalsInput{Page: "x"})), kms.CodeBadToken)

	// A week after their time they are forgotten, and make room.
	w.now = w.now.Add(8*24*time.Hour + time.Second)
	for range 3 { // they are forgotten at the same time and share an index: one that met too many conflicts comes again later
		w.e.Upkeep(t.Context())
		w.now = w.now.Add(time.Hour)
	}
	out, err := w.e.ListApprovals(t.Context(), bob, engine.ApprovalsInput{})
	if err != nil || len(out.Approvals) != 0 {
		t.Errorf("%d are left, %v", len(out.Approvals), err)
	}
	for range 32 {
		askedFor(t, w.destroyAs(asking(alice), "orders"))
	}
}

// Requests live through a restart, and so does their end.
func TestApprovalsSurviveARestart(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.holder("alice", kms.RoleAdmin), w.holder("bob", kms.RoleAdmin)
	w.create("orders", kms.AES256GCM, 0)
	w.rule(kms.ScheduleKeyDestruction, 1)
	id := askedFor(t, w.destroyAs(asking(alice), "orders"))
	w.restart()
	wantCode(t, w.approve(bob, id), 0)
	w.restart()
	wantCode(t, w.destroyAs(under(alice, id), "orders"), 0)
	w.restart()
	_, err := w.e.CancelKeyDestruction(t.Context(), alice, engine.CancelInput{Key: "orders"})
	wantCode(t, err, 0)
	wantCode(t, w.destroyAs(under(alice, id), "orders"), kms.CodeNotApproved)
	wantCode(t, w.destroyAs(alice, "orders"), kms.CodeApprovalRequired)
}

// TestEveryRuleIsKept makes a rule for every action that can have one, and does the action: nothing gets past its rule, by whatever way it is built.
func TestEveryRuleIsKept(t *testing.T) {
	trials := joined(trials, statesTrials, approvalTrials, rotationTrials, usageTrials, destructionTrials, transferTrials, datakeysTrials, inventoryTrials, regionTrials, credsTrials, keyPolicyTrials)
	tried := 0
	for _, a := range kms.AllActions() {
		prepare, there := trials[a]
		if g := a.Group(); !there || g != kms.ManageGroup && g != kms.AdminGroup {
			continue
		}
		w := newWorld(t)
		w.create("target", kms.AES256GCM, 0)
		rule := engine.NamespaceInput{Name: kms.DefaultNamespace, Approvals: []engine.ApprovalRule{{Action: a, Approvers: 16}}}
		check := rule
		check.Name = "other"
		dry := operator()
		dry.DryRun = true
		if _, err := w.e.CreateNamespace(t.Context(), dry, check); err != nil {
			wantCode(t, err, kms.CodeBadRequest) // what only looks, and approving itself
			continue
		}
		do := prepare(w, strings.ToLower(a.String()))
		ruled := true
		all, err := w.e.ListNamespaces(t.Context(), operator(), engine.PageInput{}) // some trials make one of their own
		if err != nil {
			t.Fatal(err)
		}
		for i := range all.Namespaces {
			c := operator()
			c.Namespace, rule.Name = all.Namespaces[i].Name, all.Namespaces[i].Name
			if _, err := w.e.UpdateNamespace(t.Context(), c, rule); err != nil {
				wantCode(t, err, kms.CodeNamespacePending) // nothing about it can be changed but that
				ruled = false
			}
		}
		if !ruled {
			continue
		}
		tried++
		if _, err := do(); kms.CodeOf(err) != kms.CodeApprovalRequired {
			t.Errorf("%s: got %v, want %s", a, err, kms.CodeApprovalRequired)
		}
	}
	if tried < 20 {
		t.Errorf("%d actions were tried, want all that can have a rule", tried)
	}
}

// What changes nothing but gives a key out is under approval like a change: once, on the record, and not in a rehearsal.
func TestAnExportIsApprovedOnce(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.holder("alice", kms.RoleAdmin), w.holder("bob", kms.RoleAdmin)
	_, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "out", Algorithm: kms.AES256GCM, Exportable: true})
	wantCode(t, err, 0)
	export := func(c kms.Call) (engine.ExportOutput, error) {
		return w.e.ExportKey(t.Context(), c, engine.ExportInput{Key: "out", Public: exportReceiver})
	}
	w.rule(kms.ExportKey, 1)
	id := askedFor(t, second(export(asking(alice))))
	wantCode(t, w.approve(bob, id), 0)
	dry := under(alice, id)
	dry.DryRun = true
	if out, err := export(dry); err != nil || len(out.Wrapped) != 0 {
		t.Errorf("a rehearsal gave out %d bytes, %v", len(out.Wrapped), err)
	}
	c := under(alice, id)
	c.Token = "once"
	if out, err := export(c); err != nil || len(out.Wrapped) == 0 {
		t.Fatalf("%d bytes, %v", len(out.Wrapped), err)
	}
	out, err := export(c)
	wantCode(t, err, kms.CodeAlreadyDone)
	if len(out.Wrapped) != 0 {
		t.Error("given out twice")
	}
	wantCode(t, second(export(under(alice, id))), kms.CodeNotApproved)
	recs := w.records(audit.Filter{Action: kms.ExportKey, Outcome: audit.OK})
	if len(recs) != 1 || recs[0].Approval != id || !recs[0].Change || len(recs[0].Keys) != 1 || recs[0].Keys[0].Version != 1 {
		t.Errorf("records: %+v", recs)
	}
}

// A recall takes two others without any rule, and opens what it says for as long as it says: LIF-9.
func TestARecallTakesTwoOthers(t *testing.T) {
	w := newWorld(t)
	alice, bob, carl := w.holder("alice", kms.RoleAdmin), w.holder("bob", kms.RoleAdmin), w.bearer("spiffe://x/carl", "carl", kms.RoleAdmin)
	w.create("orders", kms.AES256GCM, 0)
	old := w.encrypt("orders", "secret", nil)
	_, err := w.e.RotateKey(t.Context(), alice, engine.RotateKeyInput{Key: "orders"})
	wantCode(t, err, 0)
	_, err = w.e.DeactivateVersion(t.Context(), alice, engine.DeactivateInput{Key: "orders", Version: 1})
	wantCode(t, err, 0)
	recall := func(c kms.Call) error {
		return second(w.e.RecallVersion(t.Context(), c, engine.RecallInput{Key: "orders", Version: 1, For: time.Hour}))
	}
	wantCode(t, recall(alice), kms.CodeApprovalRequired)
	id := askedFor(t, recall(asking(alice)))
	wantCode(t, w.approve(bob, id), 0)
	wantCode(t, recall(under(alice, id)), kms.CodeNotApproved)
	wantCode(t, w.approve(carl, id), 0)
	wantCode(t, second(w.decrypt(user, old, nil)), kms.CodeVersionState)
	wantCode(t, recall(under(alice, id)), 0)
	if got, err := w.decrypt(user, old, nil); err != nil || got != "secret" {
		t.Errorf("recalled: got %q, %v", got, err)
	}
	wantCode(t, recall(under(alice, id)), kms.CodeNotApproved)
}
