package usage

import (
	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
)

// Counts tells whether requests for an action are uses of a key.
func Counts(a kms.Action) bool {
	switch a {
	case kms.GetPublicKey, kms.ExportKey, kms.ExportStore:
		return true
	default:
		return a.Group() == kms.UseGroup && a.OnKey()
	}
}

// Protects tells whether a counted use makes what its key has to keep safe from then on: a ciphertext, a signature, wrapped material.
func Protects(a kms.Action) bool {
	switch a {
	case kms.Encrypt, kms.ReEncryptTo, kms.EncryptFormat, kms.Sign, kms.GenerateMAC, kms.WrapKey, kms.Encapsulate,
		kms.GenerateDataKey, kms.GenerateDataKeyWithoutPlaintext, kms.GenerateDataKeyPair, kms.GenerateDataKeyPairWithoutPlaintext,
		kms.RegisterDataKey:
		return true
	default:
		return false
	}
}

// Moves tells whether what is counted is the server's own work to empty a version: it is in the ledger, and nobody needs the version for it.
func Moves(a kms.Action) bool { return a == kms.RewrapDataKeys }

// first is the use that a record's first key was put to; 0: none.
func first(r *audit.Record) kms.Action {
	switch {
	case r.Action == kms.ReEncrypt:
		return kms.ReEncryptFrom
	case r.Action == kms.RewrapDataKeys && len(r.Keys) > 1 && len(r.Items) > 0: // a page of a campaign, which opened data keys
		return r.Action
	case Counts(r.Action):
		return r.Action
	}
	return 0
}

// second is the use that a record's second key was put to; 0: it has none, or it was not used.
func second(r *audit.Record) kms.Action {
	if len(r.Keys) < 2 {
		return 0
	}
	switch r.Action {
	case kms.ReEncrypt:
		return kms.ReEncryptTo
	case kms.ExportKey:
		return kms.WrapKey
	case kms.ImportKeyMaterial:
		return kms.UnwrapKey
	case kms.RegisterDataKey: // the key itself once more: of a version if it opened a ciphertext that was taken over
		if r.Keys[1].Version != 0 {
			return kms.ReEncryptFrom
		}
	}
	return 0
}
