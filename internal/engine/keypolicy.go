package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/policy"
	"github.com/keyhold/keyhold/internal/records"
)

// PutKeyPolicyInput gives a key a policy of its own, in the place of the one it has.
type PutKeyPolicyInput struct {
	Key    kms.Ref
	Text   string // in AWS's language; empty: the default again
	Bypass bool   // also where the caller could not change the policy again

	parsed *policy.KeyPolicy
}

// KeyPolicyOutput is the policy of a key.
type KeyPolicyOutput struct {
	Key     kms.ID
	Name    string
	Text    string // as it was given; or the default, which hands everything on to the namespace's roles and policies
	Default bool
	Changed time.Time // zero for the default
	By      string
}

// The descriptors of key policies. A key in whatever state has one, also one that will be destroyed.
var (
	putKeyPolicy = change[PutKeyPolicyInput, KeyPolicyOutput]{
		name: kms.PutKeyPolicy,
		roles: []role[PutKeyPolicyInput]{{action: kms.PutKeyPolicy, need: lifecycle.Read,
			key: func(in *PutKeyPolicyInput) (kms.Ref, error) { return in.Key, nil }}},
		prepare: prepareKeyPolicy,
		do:      doPutKeyPolicy,
	}
	getKeyPolicy = op[KeyInput, KeyPolicyOutput]{
		name:  kms.GetKeyPolicy,
		roles: keyRole(kms.GetKeyPolicy, lifecycle.Read),
		do: func(ctx context.Context, w *work, _ *KeyInput) (KeyPolicyOutput, error) {
			k := &w.keys[0].Key.Key
			if !k.HasPolicy {
				return w.keyPolicyOutput(k, records.KeyPolicy{}), nil
			}
			p, err := w.o.records.KeyPolicy(ctx, k.ID)
			return w.keyPolicyOutput(k, p), err
		},
	}
)

// PutKeyPolicy gives a key a policy of its own, or the default again.
func (e *Engine) PutKeyPolicy(ctx context.Context, c kms.Call, in PutKeyPolicyInput) (KeyPolicyOutput, error) {
	return alter(ctx, e, c, &putKeyPolicy, &in)
}

// GetKeyPolicy answers the policy of a key.
func (e *Engine) GetKeyPolicy(ctx context.Context, c kms.Call, in KeyInput) (KeyPolicyOutput, error) {
	return use(ctx, e, c, &getKeyPolicy, &in)
}

func (w *work) keyPolicyOutput(k *kms.Key, p records.KeyPolicy) KeyPolicyOutput {
	out := KeyPolicyOutput{Key: k.ID, Name: k.Name, Text: p.Text, Changed: p.Changed, By: p.By}
	if p.Text == "" {
		out.Default, out.Text = true, policy.DefaultKeyPolicy(w.e.Account(k.Namespace))
	}
	return out
}

// prepareKeyPolicy reads the policy, and makes sure that the caller could change it again: it could be the last who can (AWS KMS API,
// PutKeyPolicy, BypassPolicyLockoutSafetyCheck).
func prepareKeyPolicy(ctx context.Context, w *work, in *PutKeyPolicyInput) (err error) {
	in.parsed = nil
	if in.Text != "" {
		if in.parsed, err = w.o.rules.keyPolicy(ctx, w.e.Account(w.call.Namespace), in.Text); err != nil {
			return err
		}
	}
	if in.Bypass {
		return nil
	}
	return w.locksOut(policy.PrepareKey(&w.keys[0].Key.Key).With(in.parsed, nil))
}

// locksOut refuses what would not let the caller change a key's policy again.
func (w *work) locksOut(on *policy.Resource) error {
	if w.decide(on, kms.PutKeyPolicy, nil).Allowed {
		return nil
	}
	e := kms.Errorf(kms.CodeBadPolicy, "the new key policy will not allow you to update the key policy in the future")
	e.Next = "permit yourself PutKeyPolicy in it, or hand it on to the account; to do without this check, bypass the lockout safety check"
	return e
}

func doPutKeyPolicy(_ context.Context, w *work, tx *records.Tx, in *PutKeyPolicyInput) (KeyPolicyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return KeyPolicyOutput{}, err
	}
	was, there, err := tx.KeyPolicy(k.ID)
	if err != nil {
		return KeyPolicyOutput{}, err
	}
	account := w.e.Account(k.Namespace)
	if was.Text == in.Text && (!there || was.Account == account) {
		w.rec.Detail = "nothing to do"
		return w.keyPolicyOutput(&k.Key, was), nil
	}
	p := records.KeyPolicy{Text: in.Text, Account: account, Changed: w.now.UTC(), By: w.call.Principal.Name}
	if k.HasPolicy = in.Text != ""; k.HasPolicy {
		err = tx.PutKeyPolicy(k.ID, p)
		w.rec.Detail = fmt.Sprintf("key policy sha256:%x", sha256.Sum256([]byte(in.Text)))
	} else {
		err = tx.RemoveKeyPolicy(k.ID)
		p = records.KeyPolicy{}
		w.rec.Detail = "the default key policy"
	}
	if in.Bypass {
		w.rec.Detail += ", without the lockout safety check"
	}
	w.putKey(tx, &k)
	return w.keyPolicyOutput(&k.Key, p), err
}
