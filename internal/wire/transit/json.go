package transit

import (
	"math/big"
	"time"
)

// The JSON of a backup, named as it is there. Members that are not here are passed over: servers add some.
type document struct {
	Policy  *policy  `json:"policy"`
	Archive *archive `json:"archived_keys"`
}

type policy struct {
	Name            string           `json:"name"`
	KeySize         int              `json:"key_size,omitzero"`
	Keys            map[string]entry `json:"keys"`
	Derived         bool             `json:"derived"`
	KDF             int              `json:"kdf"`
	Convergent      bool             `json:"convergent_encryption"`
	Exportable      bool             `json:"exportable"`
	MinDecryption   int64            `json:"min_decryption_version"`
	MinEncryption   int64            `json:"min_encryption_version"`
	Latest          int64            `json:"latest_version"`
	ArchiveVersion  int64            `json:"archive_version"`
	ArchiveMin      int64            `json:"archive_min_version"`
	MinAvailable    int64            `json:"min_available_version"`
	Deletable       bool             `json:"deletion_allowed"`
	ConvergentForm  int              `json:"convergent_version"`
	Type            *int             `json:"type"`
	BackupInfo      *stamp           `json:"backup_info"`
	RestoreInfo     *stamp           `json:"restore_info"`
	Plaintext       bool             `json:"allow_plaintext_backup"`
	VersionTemplate string           `json:"version_template"`
	StoragePrefix   string           `json:"storage_prefix"`
	Every           int64            `json:"auto_rotate_period"` // nanoseconds
	Imported        bool             `json:"Imported"`
	Rotates         bool             `json:"AllowImportedKeyRotation"`
	Deleted         bool             `json:"soft_deleted"`
}

type archive struct {
	Keys []entry `json:"keys"`
}

type stamp struct {
	Time    time.Time `json:"time"`
	Version int64     `json:"version"`
}

type entry struct {
	Key            []byte    `json:"key"`
	MAC            []byte    `json:"hmac_key"`
	Time           time.Time `json:"time"`
	X              *big.Int  `json:"ec_x"`
	Y              *big.Int  `json:"ec_y"`
	D              *big.Int  `json:"ec_d"`
	RSA            *rsaKey   `json:"rsa_key"`
	RSAPublic      *rsaKey   `json:"rsa_public_key"`
	Public         string    `json:"public_key"`
	ConvergentForm int       `json:"convergent_version"`
	Created        int64     `json:"creation_time"` // seconds since 1970
	Chain          [][]byte  `json:"certificate_chain"`
}

type rsaKey struct {
	N           *big.Int    `json:"N"`
	E           int         `json:"E"`
	D           *big.Int    `json:"D,omitzero"`
	Primes      []*big.Int  `json:"Primes,omitzero"`
	Precomputed *remainders `json:"Precomputed,omitzero"`
}

// remainders are written for the other side, and made anew here.
type remainders struct {
	Dp        *big.Int   `json:"Dp"`
	Dq        *big.Int   `json:"Dq"`
	Qinv      *big.Int   `json:"Qinv"`
	CRTValues []struct{} `json:"CRTValues"`
}

// erase overwrites what of the document is secret.
func (d *document) erase() {
	if d.Policy != nil {
		for _, e := range d.Policy.Keys {
			e.erase()
		}
	}
	if d.Archive != nil {
		for i := range d.Archive.Keys {
			d.Archive.Keys[i].erase()
		}
	}
}

func (e *entry) erase() {
	clear(e.Key)
	clear(e.MAC)
	eraseInt(e.D)
	if e.RSA == nil {
		return
	}
	eraseInt(e.RSA.D)
	for _, p := range e.RSA.Primes {
		eraseInt(p)
	}
	if r := e.RSA.Precomputed; r != nil {
		eraseInt(r.Dp)
		eraseInt(r.Dq)
		eraseInt(r.Qinv)
	}
}

func eraseInt(n *big.Int) {
	if n != nil {
		clear(n.Bits())
	}
}
