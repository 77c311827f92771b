package authn

import (
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// Signature is what a request says of itself whose AWS Signature Version 4 was verified.
type Signature struct {
	Principal       *kms.Principal
	AccessKey       string // its public id
	Region, Service string // of the credential scope
	Presigned       bool
	Time            time.Time // when it was signed, by the signer's clock
}
