package aws

import (
	"github.com/keyhold/keyhold/internal/kms"
)

// Codes of AWS that several operations give.
const (
	validation    = "ValidationException"
	notSupported  = "UnsupportedOperationException"
	invalidState  = "KMSInvalidStateException"
	limitExceeded = "LimitExceededException"
	tagFault      = "TagException"
	disabled      = "DisabledException"
)

// seen is a key as an operation found it, and what AWS has against the operation.
type seen struct {
	kms.Key
	spec    *keySpec
	refused *fault
}

// A rule says what AWS has against an operation with a key; nil: nothing.
type rule func(x *exchange, k *seen) *fault

// admit makes the engine ask AWS's own rules of each key, once the caller may do with it what the request says and before it is done. It answers where
// the key, as it is in the region of the request, is to be found from then on.
func (x *exchange) admit(rules ...rule) *seen {
	k := new(seen)
	x.call.Admit = func(found *kms.Key) error {
		k.Key, k.refused = *found, nil
		k.Stand(x.call.Region)
		if k.SwitchNow() == kms.DestroyedKey {
			return kms.Errorf(kms.CodeKeyDestroyed, "the key was destroyed")
		}
		if k.spec = specOf(k.Algorithm, k.Usage); k.spec == nil {
			k.refused = newFault(notSupported, x.keyARN(k.ID)+" is of a kind that AWS KMS does not have: "+k.Algorithm.String()+" for "+k.Usage.String()+".")
			return kms.Errorf(kms.CodeUsage, "AWS KMS has no %s keys for %s", k.Algorithm, k.Usage)
		}
		for _, r := range rules {
			if k.refused = r(x, k); k.refused != nil {
				return kms.Errorf(codeOf[k.refused.code], "%s", k.refused.message)
			}
		}
		return nil
	}
	return k
}

// codeOf is how a refusal by one of AWS's rules is recorded.
var codeOf = map[string]kms.Code{
	validation: kms.CodeBadRequest, notSupported: kms.CodeUsage, invalidState: kms.CodeVersionState, limitExceeded: kms.CodeTooLarge, tagFault: kms.CodeBadRequest, disabled: kms.CodeKeyDisabled,
}

// or answers the refusal of AWS's rules, where there was one, and else the error, by which code of AWS it has in this operation if that is not the usual one.
func (k *seen) or(err error, instead ...instead) error {
	if err == nil {
		return nil
	}
	if k.refused != nil {
		return k.refused
	}
	for _, i := range instead {
		if kms.CodeOf(err) == i.code {
			return newFault(i.aws, i.message+" ("+kms.AsError(err).Error()+")")
		}
	}
	if e := kms.AsError(err); e.Key.IsZero() {
		told := *e
		told.Key = k.ID
		return &told
	}
	return err
}

// instead is the error of AWS that an operation gives for one of ours.
type instead struct {
	code    kms.Code
	aws     string
	message string
}

// The rules that several operations have.

// enabled: AWS changes how a key rotates only while it is enabled.
func enabled(x *exchange, k *seen) *fault {
	switch k.SwitchNow() {
	case kms.Disabled, kms.SuspendedKey:
		return newFault(disabled, x.keyARN(k.ID)+" is disabled.")
	case kms.PendingDestruction:
		return newFault(invalidState, x.keyARN(k.ID)+" is pending deletion.")
	}
	return nil
}

// symmetricOnly: only symmetric keys that encrypt rotate.
func symmetricOnly(x *exchange, k *seen) *fault {
	if k.spec.symmetric() {
		return nil
	}
	return newFault(notSupported, x.keyARN(k.ID)+" key spec is "+k.spec.spec+" which is not valid for this operation.")
}

// originIs refuses keys of other origins.
func originIs(o kms.Origin) rule {
	return func(x *exchange, k *seen) *fault {
		if k.Origin == o {
			return nil
		}
		return newFault(notSupported, x.keyARN(k.ID)+" origin is "+originOf(k.Origin)+" which is not valid for this operation.")
	}
}

// primaryOnly: what all copies of a multi-Region key share is changed at its home.
func primaryOnly(x *exchange, k *seen) *fault {
	if k.Stands == "" {
		return nil
	}
	return newFault(notSupported, x.keyARN(k.ID)+" is not a multi-region primary key.")
}

// multiRegionPrimary: only the primary of a multi-Region key has replicas.
func multiRegionPrimary(x *exchange, k *seen) *fault {
	if k.ID.MultiRegion() && k.Stands == "" {
		return nil
	}
	return newFault(notSupported, x.keyARN(k.ID)+" is not a multi-region primary key.")
}

// origins are AWS's words for where material came from.
var origins = []word[kms.Origin]{
	{"AWS_KMS", kms.Generated}, {"EXTERNAL", kms.Imported}, {"AWS_KMS", kms.HSM}, {"EXTERNAL_KEY_STORE", kms.External},
}

func originOf(o kms.Origin) string { return onWire(origins, o) }
