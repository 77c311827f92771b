package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

const account = "arn:aws:iam::000000000000:"

func keyPolicyOf(statements ...string) string {
	return `{"Version": "2012-10-17", "Statement": [` + strings.Join(statements, ",") + `]}`
}

func statementOf(effect, principal string, actions ...string) string {
	return fmt.Sprintf(`{"Effect": %q, "Principal": {"AWS": %q}, "Action": ["kms:%s"], "Resource": "*"}`, effect, account+principal, strings.Join(actions, `", "kms:`))
}

func (w *world) putKeyPolicy(key kms.Ref, statements ...string) {
	w.t.Helper()
	if _, err := w.e.PutKeyPolicy(w.t.Context(), admin, engine.PutKeyPolicyInput{Key: key, Text: keyPolicyOf(statements...)}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) encrypts(c kms.Call, key kms.Ref, pairs kms.Context) error {
	_, err := w.e.Encrypt(w.t.Context(), c, engine.EncryptInput{Key: key, Items: []engine.EncryptItem{{Plaintext: []byte("x"), Context: pairs}}})
	return err
}

func TestAKeyPolicyDecidesWhoseRolesCount(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	w.create("other", kms.AES256GCM, 0)
	wantCode(t, w.encrypts(user, "k", nil), 0)

	// Without the account, roles permit nothing; the statement's principal needs none.
	w.putKeyPolicy("k", statementOf("Allow", "user/alice", "PutKeyPolicy", "DescribeKey"), statementOf("Allow", "user/svc/nobody", "Encrypt"))
	wantCode(t, w.encrypts(user, "k", nil), kms.CodeDenied)
	wantCode(t, w.encrypts(as("svc/nobody"), "k", nil), 0)
	wantCode(t, w.encrypts(as("svc/nobody"), "other", nil), kms.CodeDenied)
	wantCode(t, w.encrypts(user, "other", nil), 0)
	got := w.records(audit.Filter{Action: kms.Encrypt, Outcome: audit.OK})[1]
	if !slices.Contains(got.Record.Policies, "key-policy#2") {
		t.Errorf("got policies %v, want the key's second statement", got.Record.Policies)
	}

	// An action that is handed on is the namespace's to permit, and only that one.
	w.putKeyPolicy("k", statementOf("Allow", "user/alice", "PutKeyPolicy"), statementOf("Allow", "root", "Encrypt"))
	wantCode(t, w.encrypts(user, "k", nil), 0)
	wantCode(t, w.encrypts(as("svc/nobody"), "k", nil), kms.CodeDenied)
	_, err := w.e.DescribeKey(t.Context(), user, engine.KeyInput{Key: "k"})
	wantCode(t, err, kms.CodeDenied)

	// A Deny stands against everything.
	w.putKeyPolicy("k", statementOf("Allow", "root", "*"), statementOf("Deny", "user/svc/orders", "Encrypt"))
	err = w.encrypts(user, "k", nil)
	wantCode(t, err, kms.CodeDenied)
	ex, err := w.e.Explain(t.Context(), admin, engine.ExplainInput{Decision: kms.AsError(err).Decision})
	if err != nil || len(ex.Explanation.Forbids) != 1 || ex.Explanation.Forbids[0].Policy != "key-policy#2" || !strings.Contains(ex.Explanation.Forbids[0].Text, `"Deny"`) {
		t.Errorf("explanation: %+v %v", ex.Explanation, err)
	}
	w.restart()
	wantCode(t, w.encrypts(user, "k", nil), kms.CodeDenied)

	if _, err := w.e.PutKeyPolicy(t.Context(), admin, engine.PutKeyPolicyInput{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, w.encrypts(user, "k", nil), 0)
}

func TestAKeyPolicyThatLocksItsWriterOutIsRefused(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	text := keyPolicyOf(statementOf("Allow", "user/bob", "*"))
	_, err := w.e.PutKeyPolicy(t.Context(), admin, engine.PutKeyPolicyInput{Key: "k", Text: text})
	wantCode(t, err, kms.CodeBadPolicy)
	if _, err = w.e.PutKeyPolicy(t.Context(), admin, engine.PutKeyPolicyInput{Key: "k", Text: text, Bypass: true}); err != nil {
		t.Fatal(err)
	}
	_, err = w.e.GetKeyPolicy(t.Context(), admin, engine.KeyInput{Key: "k"})
	wantCode(t, err, kms.CodeDenied)
	got, err := w.e.GetKeyPolicy(t.Context(), as("bob"), engine.KeyInput{Key: "k"})
	if err != nil || got.Text != text || got.Default || got.By != "alice" {
		t.Errorf("got %+v %v, want the text as it was given", got, err)
	}
	_, err = w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "made", Algorithm: kms.AES256GCM, Policy: text})
	wantCode(t, err, kms.CodeBadPolicy)
	if _, err = w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "made", Algorithm: kms.AES256GCM, Policy: text, Bypass: true}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, w.encrypts(user, "made", nil), kms.CodeDenied)
}

func (w *world) grant(c kms.Call, in engine.CreateGrantInput) engine.GrantOutput {
	w.t.Helper()
	out, err := w.e.CreateGrant(w.t.Context(), c, in)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func TestAGrantPermitsUntilItEnds(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	svc := as("svc/pay")
	wantCode(t, w.encrypts(svc, "k", nil), kms.CodeDenied)
	in := engine.CreateGrantInput{Key: "k", Grantee: "svc/pay", Retiring: "svc/end", Operations: []kms.Action{kms.Encrypt}, Subset: kms.Context{"tenant": "a"}, Name: "pay"}
	g := w.grant(admin, in)
	wantCode(t, w.encrypts(svc, "k", kms.Context{"tenant": "a", "more": "b"}), 0)
	if got := w.records(audit.Filter{Action: kms.Encrypt})[0].Record.Policies; !slices.Contains(got, "grant:"+g.Grant.ID) {
		t.Errorf("got policies %v, want the grant", got)
	}
	wantCode(t, w.encrypts(svc, "k", kms.Context{"tenant": "b"}), kms.CodeDenied)
	wantCode(t, w.encrypts(svc, "k", nil), kms.CodeDenied)

	if again := w.grant(admin, in); again.Grant.ID != g.Grant.ID {
		t.Errorf("got another grant %s for the same request, want %s", again.Grant.ID, g.Grant.ID)
	}
	in.Subset, in.Equals = nil, kms.Context{"tenant": "c"}
	exact := w.grant(admin, in)
	wantCode(t, w.encrypts(svc, "k", kms.Context{"tenant": "c"}), 0)
	wantCode(t, w.encrypts(svc, "k", kms.Context{"tenant": "c", "more": "b"}), kms.CodeDenied)

	// It does not need the account, and a Deny stands against it.
	w.putKeyPolicy("k", statementOf("Allow", "user/alice", "*"))
	wantCode(t, w.encrypts(svc, "k", kms.Context{"tenant": "a"}), 0)
	w.putKeyPolicy("k", statementOf("Allow", "user/alice", "*"), statementOf("Deny", "user/svc/pay", "Encrypt"))
	wantCode(t, w.encrypts(svc, "k", kms.Context{"tenant": "a"}), kms.CodeDenied)
	w.putKeyPolicy("k", statementOf("Allow", "user/alice", "*"))

	list, err := w.e.ListGrants(t.Context(), admin, engine.ListGrantsInput{Key: "k"})
	if err != nil || len(list.Grants) != 2 {
		t.Fatalf("got %+v %v, want two grants", list, err)
	}
	_, err = w.e.RetireGrant(t.Context(), svc, engine.RetireGrantInput{Token: g.Token})
	wantCode(t, err, kms.CodeDenied)
	if _, err = w.e.RetireGrant(t.Context(), as("svc/end"), engine.RetireGrantInput{Token: g.Token}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, w.encrypts(svc, "k", kms.Context{"tenant": "a"}), kms.CodeDenied)
	w.restart()
	wantCode(t, w.encrypts(svc, "k", kms.Context{"tenant": "c"}), 0)
	if _, err = w.e.RevokeGrant(t.Context(), admin, engine.GrantInput{Key: "k", Grant: exact.Grant.ID}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, w.encrypts(svc, "k", kms.Context{"tenant": "c"}), kms.CodeDenied)
	_, err = w.e.RevokeGrant(t.Context(), admin, engine.GrantInput{Key: "k", Grant: exact.Grant.ID})
	wantCode(t, err, kms.CodeNotFound)
}

func TestAGranteeHandsOnNoMoreThanItHas(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	svc := as("svc/a")
	w.grant(admin, engine.CreateGrantInput{Key: "k", Grantee: "svc/a", Operations: []kms.Action{kms.Encrypt, kms.CreateGrant}, Subset: kms.Context{"tenant": "a"}})
	try := func(in engine.CreateGrantInput) error {
		in.Key, in.Grantee = "k", "svc/b"
		_, err := w.e.CreateGrant(t.Context(), svc, in)
		return err
	}
	wantCode(t, try(engine.CreateGrantInput{Operations: []kms.Action{kms.Decrypt}, Subset: kms.Context{"tenant": "a"}}), kms.CodeDenied)
	wantCode(t, try(engine.CreateGrantInput{Operations: []kms.Action{kms.Encrypt}}), kms.CodeDenied)
	wantCode(t, try(engine.CreateGrantInput{Operations: []kms.Action{kms.Encrypt}, Subset: kms.Context{"tenant": "b"}}), kms.CodeDenied)
	wantCode(t, try(engine.CreateGrantInput{Operations: []kms.Action{kms.Encrypt}, Subset: kms.Context{"tenant": "a", "x": "y"}}), 0)
	wantCode(t, try(engine.CreateGrantInput{Operations: []kms.Action{kms.Encrypt}, Equals: kms.Context{"tenant": "a"}}), 0)
	// Making grants of a grant is not managing the key: the grantee goes on using it where duties are separate.
	wantCode(t, w.encrypts(svc, "k", kms.Context{"tenant": "a"}), 0)
	// Who manages the key does not come to use it by a grant.
	w.grant(admin, engine.CreateGrantInput{Key: "k", Grantee: "alice", Operations: []kms.Action{kms.Encrypt}})
	wantCode(t, w.encrypts(admin, "k", nil), kms.CodeDuties)
}

func TestGrantsAreListedPageByPage(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	w.create("l", kms.AES256GCM, 0)
	want := map[string]bool{}
	for i := range 7 {
		g := w.grant(admin, engine.CreateGrantInput{Key: kms.Ref("kl"[i%2 : i%2+1]), Grantee: fmt.Sprint("svc/", i%2), Retiring: "end", Operations: []kms.Action{kms.Encrypt}})
		want[g.Grant.ID] = true
	}
	walk := func(list func(page string) (engine.GrantsOutput, error)) (n int) {
		t.Helper()
		for page := ""; ; {
			out, err := list(page)
			if err != nil || len(out.Grants) > 1 {
				t.Fatalf("got %d grants, %v, want one at a time", len(out.Grants), err)
			}
			for _, g := range out.Grants {
				if !want[g.ID] {
					t.Errorf("%s is listed and was not made", g.ID)
				}
				n++
			}
			if page = out.Next; page == "" {
				return n
			}
		}
	}
	for _, c := range []struct {
		in   engine.ListGrantsInput
		want int
	}{{engine.ListGrantsInput{Key: "k"}, 4}, {engine.ListGrantsInput{Key: "k", Grantee: "svc/0"}, 4}, {engine.ListGrantsInput{Key: "k", Grantee: "svc/1"}, 0}} {
		if got := walk(func(page string) (engine.GrantsOutput, error) {
			c.in.Page, c.in.Limit = page, 1
			return w.e.ListGrants(t.Context(), admin, c.in)
		}); got != c.want {
			t.Errorf("%+v: got %d, want %d", c.in, got, c.want)
		}
	}
	if got := walk(func(page string) (engine.GrantsOutput, error) {
		return w.e.ListRetirableGrants(t.Context(), admin, engine.RetirableGrantsInput{Retiring: "end", Page: page, Limit: 1})
	}); got != 7 {
		t.Errorf("got %d grants that end can retire, want 7", got)
	}
}

func TestTheInventoryKnowsKeyPoliciesAndGrants(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"open", "granted", "closed"} {
		w.create(name, kms.AES256GCM, 0)
	}
	for name, roles := range map[string][]kms.Role{"svc/role": {kms.RoleUser}, "svc/grantee": nil, "svc/named": nil} {
		if _, err := w.e.CreateToken(t.Context(), admin, engine.CreateTokenInput{Principal: name, Roles: roles}); err != nil {
			t.Fatal(err)
		}
	}
	w.grant(admin, engine.CreateGrantInput{Key: "granted", Grantee: "svc/grantee", Operations: []kms.Action{kms.Encrypt}})
	w.putKeyPolicy("closed", statementOf("Allow", "user/alice", "*"), statementOf("Allow", "user/svc/named", "Decrypt"))
	out, err := w.e.ReadInventory(t.Context(), admin, engine.InventoryInput{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"open": "svc/role", "granted": "svc/grantee svc/role", "closed": "svc/named"}
	for _, row := range out.Rows {
		if got := strings.Join(row.Access.Users, " "); got != want[row.Key.Name] {
			t.Errorf("%s can be used by %q, want %q", row.Key.Name, got, want[row.Key.Name])
		}
		delete(want, row.Key.Name)
	}
	if len(want) != 0 {
		t.Errorf("not listed: %v", want)
	}
}

func TestAnIdentityPolicyPlaysThePartOfIAM(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	svc := as("svc/app")
	in := engine.PutPolicyInput{ID: "app", Language: engine.LanguageAWS, Principals: []string{"svc/app"},
		Text: `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*"}}`}
	wantCode(t, w.encrypts(svc, "k", nil), kms.CodeDenied)
	put := func() error {
		_, err := w.e.PutPolicy(t.Context(), admin, in)
		return err
	}
	wantCode(t, put(), 0)
	wantCode(t, w.encrypts(svc, "k", nil), 0)
	wantCode(t, w.encrypts(as("svc/other"), "k", nil), kms.CodeDenied)
	w.restart()
	wantCode(t, w.encrypts(svc, "k", nil), 0)
	w.putKeyPolicy("k", statementOf("Allow", "user/alice", "*"))
	wantCode(t, w.encrypts(svc, "k", nil), kms.CodeDenied)
	w.putKeyPolicy("k", statementOf("Allow", "root", "*"))
	wantCode(t, w.encrypts(svc, "k", nil), 0)
	got, err := w.e.GetPolicy(t.Context(), admin, engine.PolicyInput{ID: "app"})
	if err != nil || got.Policy.Text != in.Text || got.Policy.Language != engine.LanguageAWS || len(got.Policy.Principals) != 1 {
		t.Errorf("got %+v %v, want it as it was put", got, err)
	}
	in.Principals, in.Groups = nil, []string{"apps"}
	wantCode(t, put(), 0)
	wantCode(t, w.encrypts(svc, "k", nil), kms.CodeDenied)
	member := as("svc/member")
	member.Principal.Groups = []string{"apps"}
	wantCode(t, w.encrypts(member, "k", nil), 0)
	in.Groups = nil
	wantCode(t, put(), kms.CodeBadPolicy)
	in.Groups, in.Text = []string{"apps"}, `{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}}`
	wantCode(t, put(), kms.CodeBadPolicy)
	in.Language = "rego"
	wantCode(t, put(), kms.CodeBadRequest)
}
