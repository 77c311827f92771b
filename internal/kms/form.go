package kms

// Form is how something to sign is given and, where the scheme leaves it open, how it is signed. The zero value is the message itself, and the scheme's own way.
type Form struct {
	Digested bool // it is the digest, not the message
	Salt     Salt // of RSA-PSS
}

// Salt is the length of the salt of an RSA-PSS signature in bytes, RFC 8017 §9.1: a number above 0 is that length and no other.
type Salt int

// The salts that are not numbers.
const (
	SaltUsual Salt = 0  // signing: as long as the hash; verifying: up to that (FIPS 186-5 §5.4 step g)
	SaltHash  Salt = -1 // as long as the hash
	SaltAny   Salt = -2 // signing: as long as the hash, which every verifier takes; verifying: any length
)

// maxSalt is what the largest modulus, of 512 bytes, has room for beside the shortest hash.
const maxSalt = 512 - 20 - 2

// Check bounds it.
func (s Salt) Check() error {
	if s < SaltAny || s > maxSalt {
		return Errorf(CodeBadRequest, "a salt of %d bytes was asked for: want at most %d", s, maxSalt)
	}
	return nil
}
