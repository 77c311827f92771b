package client_test

import (
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/dialect/native/nativetest"
)

// all collects a listing.
func all[T any](t testing.TB, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var list []T
	for item, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, item)
	}
	return list
}

func TestListingsGoOverTheirPages(t *testing.T) {
	s := nativetest.Open(t)
	admin := as(t, s, s.Admin)
	const n = 103 // more than one page
	for i := range n {
		create(t, admin, fmt.Sprintf("key-%03d", i), "aes-256-gcm", "")
	}
	names := map[string]bool{}
	for _, k := range all(t, admin.ListKeys(t.Context(), client.KeyFilter{NamePrefix: "key-"})) {
		if names[k.Name] {
			t.Errorf("%s comes twice", k.Name)
		}
		names[k.Name] = true
	}
	if len(names) != n {
		t.Errorf("got %d keys, want %d", len(names), n)
	}
	seen := 0
	for range admin.ListKeys(t.Context(), client.KeyFilter{}) {
		if seen++; seen == 2 {
			break
		}
	}
	records := all(t, as(t, s, s.Auditor).ListRecords(t.Context(), client.AuditFilter{Action: "CreateKey", ChangesOnly: true}))
	if len(records) != n || records[0].Time.Before(records[n-1].Time) {
		t.Errorf("got %d records, want %d, newest first", len(records), n)
	}
	for _, err := range as(t, s, "kh_wrong").ListKeys(t.Context(), client.KeyFilter{}) {
		if client.CodeOf(err) != client.CodeUnauthenticated {
			t.Errorf("got %v", err)
		}
	}
}

func TestNamespacesTokensAndCredentials(t *testing.T) {
	s := nativetest.Open(t)
	operator := as(t, s, s.Operator)
	description := "tenant"
	if ns, err := operator.CreateNamespace(t.Context(), client.NamespaceInput{Name: "tenant", Description: &description}); err != nil || !ns.SeparationOfDuties || ns.Description != description {
		t.Fatalf("got %+v, %v", ns, err)
	}
	off := false
	if ns, err := operator.UpdateNamespace(t.Context(), client.NamespaceInput{Name: "tenant", SeparationOfDuties: &off}); err != nil || ns.SeparationOfDuties {
		t.Errorf("got %+v, %v", ns, err)
	}
	if ns, err := operator.DescribeNamespace(t.Context(), "tenant"); err != nil || ns.Name != "tenant" || ns.SeparationOfDuties || ns.CreatedAt.IsZero() || ns.Revision == 0 {
		t.Errorf("got %+v, %v", ns, err)
	}
	if got := all(t, operator.ListNamespaces(t.Context())); len(got) != 3 {
		t.Errorf("got %+v, want default, system and tenant", got)
	}

	tenant := operator.InNamespace("tenant")
	made, err := tenant.CreateToken(t.Context(), client.CreateTokenInput{Principal: "both", Roles: []string{"admin", "user"}, Groups: []string{"g"}, TTL: time.Hour})
	if err != nil || made.Token.Namespace != "tenant" || !strings.HasPrefix(made.Secret, "kh_") || time.Until(made.Token.ExpiresAt) > time.Hour {
		t.Fatalf("got %+v, %v", made.Token, err)
	}
	both := as(t, s, made.Secret)
	create(t, both, "k", "aes-256-gcm", "")
	if _, err := both.Encrypt(t.Context(), client.EncryptInput{Key: "k", Plaintext: []byte("x")}); err != nil {
		t.Errorf("without separation of duties: got %v", err)
	}
	if got := all(t, tenant.ListTokens(t.Context())); len(got) != 1 || got[0].ID != made.Token.ID || got[0].CreatedBy == "" || len(got[0].Groups) != 1 {
		t.Errorf("got %+v", got)
	}
	if got, err := tenant.RevokeToken(t.Context(), made.Token.ID, client.Reason("left")); err != nil || got.RevokedAt.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := both.WhoAmI(t.Context()); client.CodeOf(err) != client.CodeUnauthenticated {
		t.Errorf("a revoked token: got %v", err)
	}

	subject := "sha256:" + strings.Repeat("ab", 32)
	if got, err := tenant.CreateCredential(t.Context(), client.CreateCredentialInput{Subject: subject, Principal: "svc", Roles: []string{"user"}}); err != nil || got.Subject != subject {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got := all(t, tenant.ListCredentials(t.Context())); len(got) != 1 || got[0].Principal != "svc" {
		t.Errorf("got %+v", got)
	}
	if got, err := tenant.RevokeCredential(t.Context(), subject); err != nil || got.RevokedAt.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPoliciesAreStoredCheckedAndExplained(t *testing.T) {
	s := nativetest.Open(t)
	admin, user := as(t, s, s.Admin), as(t, s, s.User)
	create(t, admin, "orders", "aes-256-gcm", "")
	const text = `forbid (principal == Principal::"svc/orders", action == Action::"Encrypt", resource);`
	if _, err := admin.CheckPolicy(t.Context(), "p", "forbid (principal"); client.CodeOf(err) != "KH1004" {
		t.Errorf("no policy: got %v", err)
	}
	if _, err := admin.PutPolicy(t.Context(), "p", text, client.DryRun()); err != nil {
		t.Errorf("dry run: %v", err)
	}
	if _, err := admin.GetPolicy(t.Context(), "p"); client.CodeOf(err) != client.CodeNotFound {
		t.Errorf("after the dry run: got %v", err)
	}
	if p, err := admin.PutPolicy(t.Context(), "p", text); err != nil || p.ID != "p" || p.ChangedBy != "alice" {
		t.Fatalf("got %+v, %v", p, err)
	}
	if got := all(t, admin.ListPolicies(t.Context())); len(got) != 1 || got[0].Text != text {
		t.Errorf("got %+v", got)
	}
	x, err := user.CanI(t.Context(), client.CanIInput{Action: "Encrypt", Key: "orders"})
	if err != nil || x.Allowed || x.Code != client.CodeDenied {
		t.Errorf("can I encrypt: got %+v, %v", x, err)
	}
	x, err = admin.CanI(t.Context(), client.CanIInput{Action: "Encrypt", Key: "orders", Principal: "svc/orders", Roles: []string{"user"}})
	if err != nil || x.Allowed || len(x.Needs) == 0 || len(x.Forbids) != 1 {
		t.Errorf("can svc/orders encrypt: got %+v, %v", x, err)
	}
	if x, err = user.CanI(t.Context(), client.CanIInput{Action: "Decrypt", Key: "orders"}); err != nil || !x.Allowed {
		t.Errorf("can I decrypt: got %+v, %v", x, err)
	}
	_, err = user.Encrypt(t.Context(), client.EncryptInput{Key: "orders", Plaintext: []byte("x")})
	var e *client.Error
	if !asError(err, &e) || e.Code != client.CodeDenied || e.Decision == "" {
		t.Fatalf("got %v", err)
	}
	if x, err = admin.Explain(t.Context(), e.Decision); err != nil || x.Allowed || x.Record == nil || x.Record.Principal != "svc/orders" || x.Record.Position != e.Decision || x.Record.Code != client.CodeDenied {
		t.Errorf("got %+v, %v", x, err)
	}
	if len(x.Forbids) != 1 || x.Forbids[0].Policy != "p" || x.Forbids[0].Text == "" {
		t.Errorf("got forbids %+v", x.Forbids)
	}
	if _, err := admin.DeletePolicy(t.Context(), "p"); err != nil {
		t.Error(err)
	}
	if _, err := user.Encrypt(t.Context(), client.EncryptInput{Key: "orders", Plaintext: []byte("x")}); err != nil {
		t.Errorf("after the policy is gone: %v", err)
	}
}

func TestTheTrailIsListedAndProven(t *testing.T) {
	s := nativetest.Open(t)
	admin, user, auditor := as(t, s, s.Admin), as(t, s, s.User), as(t, s, s.Auditor)
	k := create(t, admin, "orders", "aes-256-gcm", "")
	if _, err := user.Encrypt(t.Context(), client.EncryptInput{Key: "orders", Plaintext: []byte("hello"), Context: client.Context{"a": "b"}}, client.RequestID("r-17"), client.Reason("a test")); err != nil {
		t.Fatal(err)
	}
	got := all(t, auditor.ListRecords(t.Context(), client.AuditFilter{RequestID: "r-17", KeyID: k.ID, Principal: "svc/orders", Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)}))
	if len(got) != 1 {
		t.Fatalf("got %d records", len(got))
	}
	r := got[0]
	if r.Action != "Encrypt" || r.Outcome != "ok" || r.Code != "" || r.Dialect != "native" || r.Method != "token" || r.Home != "default" || r.Namespace != "default" || len(r.Keys) != 1 ||
		r.Keys[0].KeyID != k.ID || r.Keys[0].Version != 1 || r.Bytes != 5 || r.Reason != "a test" || len(r.ContextDigest) != 32 || r.Remote == "" || r.Credential == "" || len(r.PrincipalAlias) != 16 {
		t.Errorf("got %+v", r)
	}
	if _, err := user.DescribeKey(t.Context(), "none"); err == nil {
		t.Fatal("a key that is not there was described")
	}
	for name, tc := range map[string]struct {
		filter client.AuditFilter
		want   int
	}{
		"key by name":        {client.AuditFilter{Key: "orders", Action: "Encrypt"}, 1},
		"key by id":          {client.AuditFilter{Key: k.ID, Action: "Encrypt"}, 1},
		"a key that is gone": {client.AuditFilter{Key: "01890a5d-ac96-774b-bcce-b302099a8057"}, 0},
		"alias":              {client.AuditFilter{PrincipalAlias: r.PrincipalAlias, Action: "Encrypt"}, 1},
		"alias of nobody":    {client.AuditFilter{PrincipalAlias: make([]byte, 16), Action: "Encrypt"}, 0},
		"principal":          {client.AuditFilter{Principal: "svc/orders", Action: "Encrypt"}, 1},
		"nobody":             {client.AuditFilter{Principal: "nobody"}, 0},
		"code":               {client.AuditFilter{Code: "KH1301", Principal: "svc/orders"}, 1},
		"another code":       {client.AuditFilter{Code: "KH1201", Principal: "svc/orders"}, 0},
		"dialect":            {client.AuditFilter{Dialect: "native", RequestID: "r-17"}, 1},
		"other dialect":      {client.AuditFilter{Dialect: "kmip", RequestID: "r-17"}, 0},
		"resource":           {client.AuditFilter{Resource: "no such policy"}, 0},
		"own namespace":      {client.AuditFilter{Namespace: "default", RequestID: "r-17"}, 1},
	} {
		if got := all(t, auditor.ListRecords(t.Context(), tc.filter)); len(got) != tc.want {
			t.Errorf("%s: got %d records want %d", name, len(got), tc.want)
		}
	}
	for name, f := range map[string]client.AuditFilter{
		"a key that is not there": {Key: "none"}, "no code": {Code: "KH1"}, "no protocol": {Dialect: "gopher"}, "a short alias": {PrincipalAlias: []byte{1}},
		"another namespace": {Namespace: "other"}, "no namespace": {Namespace: "NO"},
	} {
		for _, err := range auditor.ListRecords(t.Context(), f) {
			if err == nil {
				t.Errorf("%s was accepted", name)
			}
			break
		}
	}
	proof, err := auditor.ProveRecord(t.Context(), r.Position)
	if err != nil || len(proof.Bundle) == 0 || proof.VerifierKey == "" {
		t.Errorf("got %d bytes, %v", len(proof.Bundle), err)
	}
	if cp, err := auditor.GetCheckpoint(t.Context()); err != nil || len(cp.Note) == 0 || cp.VerifierKey != proof.VerifierKey {
		t.Errorf("got %+v, %v", cp, err)
	}
}

func TestSignaturesMACsAndRandom(t *testing.T) {
	s := nativetest.Open(t)
	admin, user := as(t, s, s.Admin), as(t, s, s.User)
	create(t, admin, "signer", "ed25519", "")
	create(t, admin, "mac", "hmac-sha-256", "")
	create(t, admin, "new", "aes-256-gcm", "")
	message := []byte("pay 17")
	signed, err := user.Sign(t.Context(), client.SignInput{Key: "signer", Message: message})
	if err != nil || signed.Scheme != "ed25519" || len(signed.Signature) != 64 {
		t.Fatalf("got %+v, %v", signed, err)
	}
	if v, err := user.Verify(t.Context(), client.VerifyInput{Key: "signer", Message: message, Signature: signed.Signature}); err != nil || v.Version != 1 {
		t.Errorf("got %+v, %v", v, err)
	}
	if _, err := user.Verify(t.Context(), client.VerifyInput{Key: "signer", Message: []byte("pay 18"), Signature: signed.Signature}); client.CodeOf(err) != client.CodeBadSignature {
		t.Errorf("another message: got %v", err)
	}
	checks, err := user.VerifyBatch(t.Context(), []client.VerifyInput{{Key: "signer", Message: message, Signature: signed.Signature}, {Key: "signer", Message: nil, Signature: signed.Signature}})
	if err != nil || checks[0].Err != nil || client.CodeOf(checks[1].Err) != client.CodeBadSignature {
		t.Errorf("got %+v, %v", checks, err)
	}
	m, err := user.GenerateMAC(t.Context(), client.GenerateMACInput{Key: "mac", Message: message})
	if err != nil || len(m.MAC) != 32 {
		t.Fatalf("got %+v, %v", m, err)
	}
	if _, err := user.VerifyMAC(t.Context(), client.VerifyMACInput{Key: "mac", Message: message, MAC: m.MAC}); err != nil {
		t.Error(err)
	}
	if _, err := user.VerifyMAC(t.Context(), client.VerifyMACInput{Key: "mac", Message: nil, MAC: m.MAC}); client.CodeOf(err) != client.CodeBadMAC {
		t.Errorf("another message: got %v", err)
	}
	macs, err := user.VerifyMACBatch(t.Context(), []client.VerifyMACInput{{Key: "mac", Message: message, MAC: m.MAC}})
	if err != nil || macs[0].Err != nil {
		t.Errorf("got %+v, %v", macs, err)
	}
	if made, err := user.GenerateMACBatch(t.Context(), []client.GenerateMACInput{{Key: "mac", Message: message}}); err != nil || string(made[0].Value.MAC) != string(m.MAC) {
		t.Errorf("got %+v, %v", made, err)
	}
	if signed, err := user.SignBatch(t.Context(), []client.SignInput{{Key: "signer", Message: message}, {Key: "mac", Message: message}}); err != nil || signed[0].Err != nil || signed[1].Err == nil {
		t.Errorf("got %+v, %v", signed, err)
	}
	random, err := user.GenerateRandom(t.Context(), 40)
	if err != nil || len(random) != 40 {
		t.Errorf("got %d bytes, %v", len(random), err)
	}
	if pub, err := user.GetPublicKey(t.Context(), "signer", 0); err != nil || len(pub.DER) == 0 || pub.Algorithm != "ed25519" || len(pub.Schemes) != 2 {
		t.Errorf("got %+v, %v", pub, err)
	}
	dk, err := user.GenerateDataKey(t.Context(), client.GenerateDataKeyInput{Key: "new"})
	if err != nil || len(dk.Plaintext) != 32 {
		t.Fatalf("got %d bytes, %v", len(dk.Plaintext), err)
	}
	moved, err := user.ReEncrypt(t.Context(), client.ReEncryptInput{ToKey: "new", Ciphertext: dk.Ciphertext, ToContext: client.Context{"moved": "yes"}})
	if err != nil {
		t.Fatal(err)
	}
	again, err := user.ReEncryptBatch(t.Context(), []client.ReEncryptInput{{ToKey: "new", Ciphertext: moved.Ciphertext, FromContext: client.Context{"moved": "yes"}}})
	if err != nil || again[0].Err != nil {
		t.Fatalf("got %+v, %v", again, err)
	}
	if opened, err := user.Decrypt(t.Context(), client.DecryptInput{Ciphertext: again[0].Value.Ciphertext}); err != nil || string(opened.Plaintext) != string(dk.Plaintext) {
		t.Errorf("got %v", err)
	}
}

func TestUpkeep(t *testing.T) {
	s := nativetest.Open(t)
	operator := as(t, s, s.Operator)
	create(t, as(t, s, s.Admin), "k", "aes-256-gcm", "")
	if jobs, err := operator.ListJobs(t.Context(), 0); err != nil || len(jobs) == 0 {
		t.Errorf("got %+v, %v", jobs, err)
	}
	before, err := operator.Status(t.Context())
	if err != nil || !before.Ready || before.Sealed || before.Threshold != 2 || len(before.Recipients) != 2 {
		t.Fatalf("got %+v, %v", before, err)
	}
	if _, err := operator.RollEpoch(t.Context()); err != nil {
		t.Error(err)
	}
	if st, err := operator.RotateRoot(t.Context()); err != nil || st.RootGeneration != before.RootGeneration+1 {
		t.Errorf("got %+v, %v", st, err)
	}
	if report, err := operator.CheckStore(t.Context()); err != nil || report.Keys != 1 || report.Versions != 1 || report.DamagedCount != 0 {
		t.Errorf("got %+v, %v", report, err)
	}
	if st, err := operator.Seal(t.Context()); err != nil || !st.Sealed {
		t.Errorf("got %+v, %v", st, err)
	}
	local, err := client.New(client.Config{Address: s.Socket})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := local.UnsealPassphrase(t.Context(), []byte("no such recipient")); err == nil {
		t.Error("a passphrase opens what has none")
	}
	if _, err := operator.UnsealKeyFile(t.Context(), []byte(strings.Repeat("\x07", 32))); client.CodeOf(err) != client.CodeOnlyLocal {
		t.Errorf("over the network: got %v", err)
	}
	if st, err := local.UnsealReset(t.Context()); err != nil || !st.Sealed {
		t.Errorf("got %+v, %v", st, err)
	}
	if st, err := local.UnsealKeyFile(t.Context(), []byte(strings.Repeat("\x07", 32))); err != nil || st.Sealed {
		t.Errorf("got %+v, %v", st, err)
	}
}
