package engine

import (
	"maps"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/policy"
	"github.com/keyhold/keyhold/internal/policy/iam"
)

// What requests say of themselves where a policy asks.

// Tell implements policy.Teller.
func (in *EncryptInput) Tell(f *policy.Facts) { f.Scheme = in.Scheme }

// Tell implements policy.Teller.
func (in *DecryptInput) Tell(f *policy.Facts) { f.Scheme = in.Scheme }

// Tell implements policy.Teller.
func (in *MACInput) Tell(f *policy.Facts) { f.Scheme = in.Scheme }

// Tell implements policy.Teller.
func (in *VerifyMACInput) Tell(f *policy.Facts) { f.Scheme = in.Scheme }

// Tell implements policy.Teller.
func (in *DataKeyPairInput) Tell(f *policy.Facts) { f.Pair = in.Algorithm }

// Tell implements policy.Teller.
func (in *ReEncryptInput) Tell(f *policy.Facts) {
	if f.Scheme = in.ToScheme; f.Action == kms.ReEncryptFrom {
		f.Scheme = in.FromScheme
	}
}

// Tell implements policy.Teller.
func (in *SignInput) Tell(f *policy.Facts) {
	f.Scheme = in.Scheme
	for i := range in.Items {
		f.Message = messageType(f.Message, in.Scheme, in.Items[i].Digested)
	}
}

// Tell implements policy.Teller.
func (in *VerifyInput) Tell(f *policy.Facts) {
	f.Scheme = in.Scheme
	for i := range in.Items {
		f.Message = messageType(f.Message, in.Scheme, in.Items[i].Digested)
	}
}

// mixed is what a batch of several kinds of messages says: no condition names it.
const mixed = "mixed"

func messageType(others string, s kms.Scheme, digested bool) string {
	is := iam.MessageRaw
	switch {
	case digested && s == kms.SchemeMLDSA: // FIPS 204 §5.4.1: the message representative
		is = iam.MessageMu
	case digested:
		is = iam.MessageDigest
	}
	if others != "" && others != is {
		return mixed
	}
	return is
}

// Tell implements policy.Teller.
func (in *DestroyInput) Tell(f *policy.Facts) {
	window := in.Window
	if window == 0 {
		window = lifecycle.DefaultWindow
	}
	f.Window = int(window / (24 * time.Hour))
}

// Tell implements policy.Teller.
func (in *CreateKeyInput) Tell(f *policy.Facts) {
	f.NewLabels, f.LabelNames = in.Labels, slices.Collect(maps.Keys(in.Labels))
	if in.Policy != "" {
		f.Bypass = &in.Bypass
	}
}

// Tell implements policy.Teller.
func (in *UpdateKeyInput) Tell(f *policy.Facts) {
	for _, part := range []struct {
		made   bool
		change iam.Change
	}{
		{in.Description != nil, iam.ChangeDescription},
		{len(in.SetLabels) > 0, iam.SetLabel},
		{len(in.RemoveLabels) > 0, iam.RemoveLabel},
		{len(in.AddAliases) > 0, iam.AddAlias},
		{len(in.RemoveAliases) > 0, iam.RemoveAlias},
		{in.Name != nil || in.Class != nil || in.Freeze != nil || in.ProcessDeactivated != nil, iam.ChangeOther},
	} {
		if part.made {
			f.Changes = append(f.Changes, part.change)
		}
	}
	f.NewLabels = in.SetLabels
	f.LabelNames = append(slices.Collect(maps.Keys(in.SetLabels)), in.RemoveLabels...)
}

// Tell implements policy.Teller.
func (in *PutKeyPolicyInput) Tell(f *policy.Facts) { f.Bypass = &in.Bypass }

// Tell implements policy.Teller.
func (in *CreateGrantInput) Tell(f *policy.Facts) {
	f.Operations, f.Grantee, f.Retiring = in.Operations, in.Grantee, in.Retiring
	switch {
	case len(in.Equals) > 0:
		f.Constraint = "EncryptionContextEquals"
	case len(in.Subset) > 0:
		f.Constraint = "EncryptionContextSubset"
	}
}

// Tell implements policy.Teller.
func (in *MoveAliasInput) Tell(f *policy.Facts) {
	f.Changes = []iam.Change{iam.AddAlias, iam.RemoveAlias}
}

// Tell implements policy.Teller.
func (in *DeleteAliasInput) Tell(f *policy.Facts) { f.Changes = []iam.Change{iam.RemoveAlias} }
