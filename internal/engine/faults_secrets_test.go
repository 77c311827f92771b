package engine_test

import (
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// newSecret puts a secret at a path, which svc/orders may read.
func newSecret(w *world, n string) (string, error) {
	path := "secret/app/" + n
	w.putPolicy("reads-"+n, `permit (principal == Principal::"svc/orders", action == Action::"ReadSecret", resource) when { context has secret && context.secret == "`+path+`" };`)
	_, err := w.e.PutSecret(w.t.Context(), admin, engine.PutSecretInput{Path: path, Value: secret.Copy([]byte("value of " + n))})
	return path, err
}

func newAnswer(w *world, _ string) (engine.AnswerInput, error) {
	out, err := w.e.WrapAnswer(w.t.Context(), user, engine.WrapAnswerInput{Value: secret.Copy([]byte("answer")), Path: "transit/keys", TTL: time.Minute})
	return engine.AnswerInput{Token: secret.Copy(out.Token.Wire(release.Wire{}))}, err
}

var secretTrials = map[kms.Action]trial{
	kms.PutSecret: plain(func(w *world, n string) (engine.SecretOutput, error) {
		return w.e.PutSecret(w.t.Context(), admin, engine.PutSecretInput{Path: "secret/" + n, Value: secret.Copy([]byte("v"))})
	}),
	kms.ReadSecret: after(newSecret, func(w *world, path string) (engine.ReadSecretOutput, error) {
		return w.e.ReadSecret(w.t.Context(), user, engine.ReadSecretInput{Path: path})
	}),
	kms.ListSecrets: after(newSecret, func(w *world, _ string) (engine.ListSecretsOutput, error) {
		return w.e.ListSecrets(w.t.Context(), admin, engine.ListSecretsInput{Folder: "secret/app"})
	}),
	kms.DeleteSecret: after(newSecret, func(w *world, path string) (engine.SecretOutput, error) {
		return w.e.DeleteSecret(w.t.Context(), admin, engine.SecretVersionsInput{Path: path})
	}),
	kms.UndeleteSecret: after(func(w *world, n string) (string, error) {
		path, err := newSecret(w, n)
		if err == nil {
			_, err = w.e.DeleteSecret(w.t.Context(), admin, engine.SecretVersionsInput{Path: path})
		}
		return path, err
	}, func(w *world, path string) (engine.SecretOutput, error) {
		return w.e.UndeleteSecret(w.t.Context(), admin, engine.SecretVersionsInput{Path: path, Versions: []uint32{1}})
	}),
	kms.DestroySecret: after(newSecret, func(w *world, path string) (engine.SecretOutput, error) {
		return w.e.DestroySecret(w.t.Context(), admin, engine.SecretVersionsInput{Path: path, Versions: []uint32{1}})
	}),
	kms.ReadSecretMetadata: after(newSecret, func(w *world, path string) (engine.SecretOutput, error) {
		return w.e.ReadSecretMetadata(w.t.Context(), admin, engine.SecretInput{Path: path})
	}),
	kms.UpdateSecretMetadata: after(newSecret, func(w *world, path string) (engine.SecretOutput, error) {
		keep := uint32(3)
		return w.e.UpdateSecretMetadata(w.t.Context(), admin, engine.UpdateSecretInput{Path: path, Keep: &keep})
	}),
	kms.DeleteSecretMetadata: after(newSecret, func(w *world, path string) (engine.SecretOutput, error) {
		return w.e.DeleteSecretMetadata(w.t.Context(), admin, engine.SecretInput{Path: path})
	}),
	kms.WrapAnswer: plain(func(w *world, _ string) (engine.WrapAnswerOutput, error) {
		return w.e.WrapAnswer(w.t.Context(), user, engine.WrapAnswerInput{Value: secret.Copy([]byte("answer")), Path: "transit/keys", TTL: time.Minute})
	}),
	kms.UnwrapAnswer: after(newAnswer, func(w *world, in engine.AnswerInput) (engine.UnwrapAnswerOutput, error) {
		return w.e.UnwrapAnswer(w.t.Context(), user, in)
	}),
	kms.LookUpAnswer: after(newAnswer, func(w *world, in engine.AnswerInput) (engine.AnswerOutput, error) {
		return w.e.LookUpAnswer(w.t.Context(), user, in)
	}),
	kms.RewrapAnswer: after(newAnswer, func(w *world, in engine.AnswerInput) (engine.WrapAnswerOutput, error) {
		return w.e.RewrapAnswer(w.t.Context(), user, in)
	}),
}
