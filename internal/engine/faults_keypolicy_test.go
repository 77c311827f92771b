package engine_test

import (
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

const delegating = `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "kms:*", "Resource": "*"}}`

func withKeyPolicy(w *world, n string) (engine.KeyPolicyOutput, error) {
	w.create(n, kms.AES256GCM, 0)
	return w.e.PutKeyPolicy(w.t.Context(), admin, engine.PutKeyPolicyInput{Key: kms.Ref(n), Text: delegating})
}

func newGrant(w *world, n string) (engine.GrantOutput, error) {
	w.create(n, kms.AES256GCM, 0)
	return w.e.CreateGrant(w.t.Context(), admin, engine.CreateGrantInput{Key: kms.Ref(n), Grantee: "svc/a", Retiring: "svc/b", Operations: []kms.Action{kms.Encrypt}})
}

var keyPolicyTrials = map[kms.Action]trial{
	kms.PutKeyPolicy: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.KeyPolicyOutput, error) {
		return w.e.PutKeyPolicy(w.t.Context(), admin, engine.PutKeyPolicyInput{Key: k, Text: delegating})
	}),
	kms.GetKeyPolicy: after(withKeyPolicy, func(w *world, in engine.KeyPolicyOutput) (engine.KeyPolicyOutput, error) {
		return w.e.GetKeyPolicy(w.t.Context(), user, engine.KeyInput{Key: kms.RefTo(in.Key)})
	}),
	kms.CreateGrant: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.GrantOutput, error) {
		return w.e.CreateGrant(w.t.Context(), admin, engine.CreateGrantInput{Key: k, Grantee: "svc/a", Operations: []kms.Action{kms.Encrypt}})
	}),
	kms.RevokeGrant: after(newGrant, func(w *world, in engine.GrantOutput) (engine.GrantOutput, error) {
		return w.e.RevokeGrant(w.t.Context(), admin, engine.GrantInput{Key: kms.RefTo(in.Grant.Key), Grant: in.Grant.ID})
	}),
	kms.RetireGrant: after(newGrant, func(w *world, in engine.GrantOutput) (engine.GrantOutput, error) {
		return w.e.RetireGrant(w.t.Context(), as("svc/b"), engine.RetireGrantInput{Token: in.Token})
	}),
	kms.ListGrants: after(newGrant, func(w *world, in engine.GrantOutput) (engine.GrantsOutput, error) {
		return w.e.ListGrants(w.t.Context(), user, engine.ListGrantsInput{Key: kms.RefTo(in.Grant.Key)})
	}),
	kms.ListRetirableGrants: after(newGrant, func(w *world, _ engine.GrantOutput) (engine.GrantsOutput, error) {
		return w.e.ListRetirableGrants(w.t.Context(), user, engine.RetirableGrantsInput{Retiring: "svc/b"})
	}),
}
