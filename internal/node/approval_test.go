package node_test

import (
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/node"
)

// Two others, one by a token and one by a client certificate, approve over the network; the server is started anew between each step: ACC-4.
func TestOthersApproveOverTheNetworkAndThroughRestarts(t *testing.T) {
	ca := certificate(t, nil, "")
	caFile := filepath.Join(t.TempDir(), "clients.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	const carl = "spiffe://example.org/carl"
	mine := certificate(t, ca, carl)
	dir := t.TempDir()
	begin := func() *running {
		return start(t, dir, node.Options{Dev: true},
			config.Override{Name: "tls.client_ca", Value: caFile, Flag: "test"}, config.Override{Name: "tls.client_certificates", Value: "verified", Flag: "test"})
	}
	r := begin()
	var token string
	clients := func() (alice, bob, carl *client.Client) {
		env := r.env()
		of := func(c client.Config) *client.Client {
			c.Address, c.CACert = env["KEYHOLD_ADDR"], r.file("tls/ca.pem")
			return r.client(c)
		}
		return of(client.Config{Token: env["KEYHOLD_TOKEN"]}), of(client.Config{Token: token}), of(client.Config{Certificate: mine})
	}
	restart := func() {
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r = begin()
	}
	alice, _, _ := clients()
	made, err := alice.CreateToken(t.Context(), client.CreateTokenInput{Principal: "bob", Roles: []string{"admin"}})
	wantCode(t, err, 0)
	token = made.Secret
	_, err = alice.CreateCredential(t.Context(), client.CreateCredentialInput{Subject: carl, Principal: "carl", Roles: []string{"admin"}})
	wantCode(t, err, 0)
	_, err = alice.CreateKey(t.Context(), client.CreateKeyInput{Name: "orders", Algorithm: "aes-256-gcm"})
	wantCode(t, err, 0)
	_, err = alice.UpdateNamespace(t.Context(), client.NamespaceInput{Name: "default", Approvals: []client.ApprovalRule{{Action: "RotateKey", Approvers: 2}}})
	wantCode(t, err, 0)
	rotate := func(c *client.Client, o ...client.Option) error {
		_, err := c.RotateKey(t.Context(), "orders", o...)
		return err
	}
	wantCode(t, rotate(alice), kms.CodeApprovalRequired)
	wantCode(t, rotate(alice, client.AskApproval(10*24*time.Hour)), kms.CodeBadRequest)
	var e *client.Error
	if err := rotate(alice, client.AskApproval(time.Hour), client.Reason("quarterly")); !errors.As(err, &e) || e.Code != client.CodeApprovalRequired || e.Approval == "" {
		t.Fatalf("asked: got %v", err)
	}
	id := e.Approval
	restart()
	alice, bob, carla := clients()
	_, err = alice.Approve(t.Context(), id, nil)
	wantCode(t, err, kms.CodeDuties)
	seen, err := bob.DescribeApproval(t.Context(), id)
	if err != nil || seen.Requester != "dev" || seen.Action != "RotateKey" || seen.Resource != "orders" || seen.Reason != "quarterly" || seen.State != "pending" || len(seen.Terms) == 0 {
		t.Fatalf("bob sees %+v, %v", seen, err)
	}
	_, err = bob.Approve(t.Context(), id, seen.Digest, client.Reason("seen"))
	wantCode(t, err, 0)
	wantCode(t, rotate(alice, client.WithApproval(id)), kms.CodeNotApproved)
	out, err := carla.Approve(t.Context(), id, seen.Digest)
	if err != nil || out.State != "approved" || len(out.Votes) != 2 || out.Votes[1].Method != "certificate" || out.Votes[0].Reason != "seen" {
		t.Fatalf("approved: %+v, %v", out, err)
	}
	restart()
	alice, bob, _ = clients()
	wantCode(t, rotate(bob, client.WithApproval(id)), kms.CodeNotApproved)
	wantCode(t, rotate(alice, client.WithApproval("1")), kms.CodeBadRequest)
	wantCode(t, rotate(alice, client.WithApproval(id)), 0)
	wantCode(t, rotate(alice, client.WithApproval(id)), kms.CodeNotApproved)
	n := 0
	for a, err := range bob.ListApprovals(t.Context(), "used") {
		wantCode(t, err, 0)
		if n++; a.ID != id || a.EndedAt.IsZero() {
			t.Errorf("used: %+v", a)
		}
	}
	found := false
	for rec, err := range alice.ListRecords(t.Context(), client.AuditFilter{Action: "RotateKey"}) {
		wantCode(t, err, 0)
		found = found || rec.Approval == id && len(rec.Approvers) == 2
	}
	if n != 1 || !found {
		t.Errorf("%d are used, the record names them: %v; want 1, true", n, found)
	}
}
