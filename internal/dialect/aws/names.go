package aws

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
)

// The forms of a key's id on the wire: a UUID, or for a multi-Region key "mrk-" and the 32 digits of one.
const (
	mrk         = "mrk-"
	aliasPrefix = "alias/"
	keyPrefix   = "key/"
)

// keyID is a key's id on the wire.
func keyID(id kms.ID) string {
	if id.MultiRegion() {
		return mrk + hex.EncodeToString(id[:])
	}
	return id.String()
}

// parseKeyID reads a key's id; the second result tells whether it is one.
func parseKeyID(s string) (kms.ID, bool) {
	digits, is := strings.CutPrefix(s, mrk)
	if !is {
		id, ok := kms.ParseID(s)
		return id, ok && !id.MultiRegion()
	}
	if len(digits) != 32 || strings.ToLower(digits) != digits {
		return kms.ID{}, false
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return kms.ID{}, false
	}
	id := kms.ID(b)
	return id, id.MultiRegion()
}

// materialID names a version of a key as AWS names key material: 64 hexadecimal digits that stay the same.
func materialID(key kms.ID, version uint32) string {
	b := append([]byte("keyhold: AWS key material id\x00"), key[:]...)
	sum := sha256.Sum256(binary.BigEndian.AppendUint32(b, version))
	return hex.EncodeToString(sum[:])
}

// arn is an Amazon Resource Name of this service, region and account.
func (x *exchange) arn(resource string) string { return x.arnIn(x.call.Region, resource) }

func (x *exchange) arnIn(region, resource string) string {
	return "arn:aws:kms:" + region + ":" + x.account + ":" + resource
}

func (x *exchange) keyARN(id kms.ID) string { return x.arn(keyPrefix + keyID(id)) }

func (x *exchange) aliasARN(name string) string { return x.arn(aliasPrefix + name) }

// askedARN is the ARN that a caller meant by what it called a key.
func (x *exchange) askedARN() string {
	if strings.HasPrefix(x.asked, "arn:") {
		return x.asked
	}
	return x.arn(keyPrefix + x.asked)
}

// isAlias tells whether a key was named by an alias, bare or in an ARN, and by which.
func isAlias(asked string) (string, bool) {
	if i := strings.LastIndex(asked, ":alias/"); i >= 0 && strings.HasPrefix(asked, "arn:") {
		asked = asked[i+1:]
	}
	return strings.CutPrefix(asked, aliasPrefix)
}

// resource finds the part of a key reference that names the key: what stands behind region and account of an ARN, whose region and
// account must be those of the request; anything else as it is.
func (x *exchange) resource(asked string) (string, *fault) {
	if !strings.HasPrefix(asked, "arn:") {
		return asked, nil
	}
	part := strings.SplitN(asked, ":", 6)
	switch {
	case len(part) != 6 || !strings.HasPrefix(part[1], "aws") || part[2] != "kms":
		return "", newFault("InvalidArnException", "Invalid arn "+clip(asked))
	case part[3] != x.call.Region:
		return "", newFault("NotFoundException", "Invalid arn "+clip(part[3]))
	case part[4] != x.account:
		return "", newFault("AccessDeniedException", "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.")
	}
	return part[5], nil
}

// ref is the engine's reference to the key that a caller names by id, ARN, alias or alias ARN.
func (x *exchange) ref(asked string) (kms.Ref, error) {
	x.asked = asked
	r, f := x.resource(asked)
	if f != nil {
		return "", f
	}
	if name, is := strings.CutPrefix(r, aliasPrefix); is {
		return aliasRef(name)
	}
	bare := strings.TrimPrefix(r, keyPrefix)
	if (r == bare) == strings.HasPrefix(asked, "arn:") { // an ARN says key/, and nothing else does
		return "", newFault("NotFoundException", "Invalid keyId '"+clip(asked)+"'")
	}
	if id, ok := parseKeyID(bare); ok {
		return kms.RefTo(id), nil
	}
	return "", newFault("NotFoundException", "Invalid keyId '"+clip(asked)+"'")
}

// aliasRef is the reference by an alias's name. Names here know a full stop and no colon, AWS's a colon and no full stop: the one stands
// for the other.
func aliasRef(name string) (kms.Ref, error) {
	ours := strings.ReplaceAll(name, ":", ".")
	if kms.CheckName(ours) != nil {
		return "", newFault("NotFoundException", "Alias "+aliasPrefix+clip(name)+" is not found.")
	}
	return kms.Ref(aliasPrefix + ours), nil
}

// aliasOnWire is an alias as AWS writes it.
func aliasOnWire(name string) string { return aliasPrefix + strings.ReplaceAll(name, ".", ":") }

// clip shortens a stranger's text before it goes into a message.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
