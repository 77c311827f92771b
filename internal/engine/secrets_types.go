package engine

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy"
	"github.com/keyhold/keyhold/internal/secret"
)

// Limits of secrets.
const (
	MaxSecretValue     = 60 << 10 // bytes
	MaxSecretPath      = 255      // bytes, all folders included
	MaxSecretDepth     = 16       // parts of a path
	MaxSecretVersions  = 64       // that are kept of one secret
	SecretVersions     = 10       // that are kept unless something else is said
	MaxSecretsInFolder = 10_000   // entries
	MaxCustomMetadata  = 64       // entries of one secret
	maxCustomName      = 128      // bytes
	maxCustomValue     = 512      // bytes
)

// SecretInput names a secret by its path: mount/folder/name.
type SecretInput struct{ Path string }

// PutSecretInput asks for a new version of a secret, which is made if there is none of that path.
type PutSecretInput struct {
	Path     string
	Value    *secret.Bytes // the caller erases it
	Replaces *uint32       `json:",omitempty"` // the newest version as the caller knows it, 0: there is none; nil: whatever there is
	Under    string        `json:",omitempty"` // the folder whose settings hold; empty: none
	Digest   [32]byte      // of the value: given, not told

	made *madeSealed
}

// ReadSecretInput names a version of a secret.
type ReadSecretInput struct {
	Path    string
	Version uint32 // 0: the newest
}

// ReadSecretOutput is a version of a secret. One that is deleted or destroyed has no value, and says so.
type ReadSecretOutput struct {
	Value   secret.Released
	Version SecretVersion
	Custom  map[string]string
}

// SecretVersionsInput names versions of a secret.
type SecretVersionsInput struct {
	Path     string
	Versions []uint32 // of DeleteSecret also none: the newest
}

// ListSecretsInput asks for a page of what a folder has.
type ListSecretsInput struct {
	Folder string // without / at its end
	After  string // a name; only what comes after it
	Limit  int    // 0: all that a folder can have
}

// ListSecretsOutput is one page, by name. Folders end in a slash; a name may stand for both.
type ListSecretsOutput struct {
	Names []string
	More  bool
}

// UpdateSecretInput changes what is known of a secret beside its values. nil: it stays as it is.
type UpdateSecretInput struct {
	Path        string
	Keep        *uint32            // versions, at most MaxSecretVersions; 0: as many as is usual. What is too many goes with the next version
	MustCheck   *bool              // writers say which version they replace
	DeleteAfter *time.Duration     // after which a new version is deleted; 0: never
	Custom      *map[string]string // all of it
	Changes     map[string]*string // of some of it; nil: the entry goes
	Known       bool               // only if there is such a secret
}

// SecretSettings are what holds for the secrets below a folder that say nothing else.
type SecretSettings struct {
	Keep        uint32 // versions; 0: SecretVersions
	MustCheck   bool
	DeleteAfter time.Duration // of the two, the shorter one holds; 0: never
}

// SecretSettingsInput names a folder.
type SecretSettingsInput struct{ Folder string }

// UpdateSecretSettingsInput changes what holds for the secrets below a folder. nil: it stays as it is.
type UpdateSecretSettingsInput struct {
	Folder      string
	Keep        *uint32 // at most MaxSecretVersions
	MustCheck   *bool
	DeleteAfter *time.Duration
}

// SecretSettingsOutput is what holds.
type SecretSettingsOutput struct{ Settings SecretSettings }

// SecretInfo is a secret without its values.
type SecretInfo struct {
	Path        string
	Created     time.Time
	Updated     time.Time
	Current     uint32 // 0: it never had a version
	Keep        uint32
	MustCheck   bool
	DeleteAfter time.Duration
	Custom      map[string]string
	Versions    []SecretVersion // by number
}

// SecretVersion is one version of a secret.
type SecretVersion struct {
	Number    uint32
	Bytes     uint32
	Created   time.Time
	By        string
	Deleted   time.Time // from then on it is not given out; it may be ahead
	Destroyed bool
}

// Gone tells whether a version is not given out any more.
func (v *SecretVersion) Gone(now time.Time) bool {
	return v.Destroyed || !v.Deleted.IsZero() && !now.Before(v.Deleted)
}

// SecretOutput is a secret as it is known.
type SecretOutput struct{ Secret SecretInfo }

// Tell says of which secret a request is.
func (in *SecretInput) Tell(f *policy.Facts) { f.Secret = in.Path }

// Tell says of which secret a request is.
func (in *PutSecretInput) Tell(f *policy.Facts) { f.Secret = in.Path }

// Tell says of which secret a request is.
func (in *ReadSecretInput) Tell(f *policy.Facts) { f.Secret = in.Path }

// Tell says of which secret a request is.
func (in *SecretVersionsInput) Tell(f *policy.Facts) { f.Secret = in.Path }

// Tell says of which secret a request is.
func (in *UpdateSecretInput) Tell(f *policy.Facts) { f.Secret = in.Path }

// Tell says of which folder a request is: its path ends in a slash.
func (in *ListSecretsInput) Tell(f *policy.Facts) { f.Secret = in.Folder + "/" }

// Tell says of which folder a request is.
func (in *SecretSettingsInput) Tell(f *policy.Facts) { f.Secret = in.Folder + "/" }

// Tell says of which folder a request is.
func (in *UpdateSecretSettingsInput) Tell(f *policy.Facts) { f.Secret = in.Folder + "/" }

// Tell says of which secret it is asked.
func (in *CanIInput) Tell(f *policy.Facts) { f.Secret = in.Secret }

// checkSecretPath checks the path of a secret, which is in a folder: how many of these there are at the top is the configuration's to say.
func checkSecretPath(path string) error {
	if err := checkFolder(path); err != nil || strings.Contains(path, "/") {
		return err
	}
	return kms.Errorf(kms.CodeBadName, "the path of a secret is mount/name")
}

// checkFolder checks the path of a folder, without a slash at its end.
func checkFolder(path string) error {
	if path == "" || len(path) > MaxSecretPath {
		return kms.Errorf(kms.CodeBadName, "the path of a secret has 1 to %d bytes, not %d", MaxSecretPath, len(path))
	}
	if !utf8.ValidString(path) || strings.ContainsFunc(path, unicode.IsControl) {
		return kms.Errorf(kms.CodeBadName, "the path of a secret is text without control characters")
	}
	parts := strings.Split(path, "/")
	if len(parts) > MaxSecretDepth {
		return kms.Errorf(kms.CodeBadName, "the path of a secret has %d parts at most", MaxSecretDepth)
	}
	for _, p := range parts {
		if p == "" || p == "." || p == ".." {
			return kms.Errorf(kms.CodeBadName, "a part of the path of a secret is empty or only dots")
		}
	}
	return nil
}

func checkSecretVersions(in *SecretVersionsInput) error {
	if len(in.Versions) > MaxSecretVersions {
		return kms.Errorf(kms.CodeTooLarge, "%d versions are more than the %d that a secret can have", len(in.Versions), MaxSecretVersions)
	}
	return checkSecretPath(in.Path)
}

func checkUpdateSecret(in *UpdateSecretInput) error {
	if err := checkSettings(in.Keep, in.DeleteAfter); err != nil {
		return err
	}
	if in.Custom != nil {
		if err := checkCustom(*in.Custom); err != nil {
			return err
		}
	}
	changes := make(map[string]string, len(in.Changes))
	for name, value := range in.Changes {
		if changes[name] = ""; value != nil {
			changes[name] = *value
		}
	}
	if err := checkCustom(changes); err != nil {
		return err
	}
	return checkSecretPath(in.Path)
}

func checkSettings(keep *uint32, after *time.Duration) error {
	if keep != nil && *keep > MaxSecretVersions {
		return kms.Errorf(kms.CodeBadRequest, "a secret keeps %d versions at most, not %d", MaxSecretVersions, *keep)
	}
	if after != nil && (*after < 0 || *after%time.Second != 0) {
		return kms.Errorf(kms.CodeBadRequest, "versions are deleted after whole seconds, or never")
	}
	return nil
}

func checkCustom(custom map[string]string) error {
	if len(custom) > MaxCustomMetadata {
		return kms.Errorf(kms.CodeTooLarge, "%d entries of metadata are more than %d", len(custom), MaxCustomMetadata)
	}
	for name, value := range custom {
		if name == "" || len(name) > maxCustomName || len(value) > maxCustomValue || !utf8.ValidString(name+value) {
			return kms.Errorf(kms.CodeBadRequest, "metadata has names of 1 to %d bytes and values of at most %d, both text", maxCustomName, maxCustomValue)
		}
	}
	return nil
}
