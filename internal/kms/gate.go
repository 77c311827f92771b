package kms

// Profile is the rule set that the server runs under.
type Profile uint8

// The profiles.
const (
	ProfileDefault Profile = iota
	ProfileFIPS            // only what Go's FIPS 140-3 module provides

	profileEnd
)

func (p Profile) String() string {
	if p == ProfileFIPS {
		return "fips"
	}
	return "default"
}

// AllProfiles lists the profiles.
func AllProfiles() []Profile {
	var all []Profile
	for p := ProfileDefault; p < profileEnd; p++ {
		all = append(all, p)
	}
	return all
}

// Leave says whether a scheme may protect (encrypt, sign, make a MAC), only process (decrypt, verify), or neither.
type Leave uint8

// The leaves.
const (
	Refused Leave = iota
	ProcessOnly
	Full
)

// CheckCreate is the gate at the birth of a key: may a key of this algorithm be made for this usage under this profile?
// A usage of 0 stands for the algorithm's only one; the effective usage is returned.
func CheckCreate(a Algorithm, u Usage, p Profile) (Usage, error) {
	usages := a.Usages()
	if len(usages) == 0 {
		return 0, Errorf(CodeAlgorithm, "there is no such algorithm")
	}
	if u == 0 {
		if len(usages) > 1 {
			return 0, Errorf(CodeUsage, "%s keys can encrypt or sign, and a key serves one purpose: say which with the usage", a)
		}
		u = usages[0]
	}
	var why string
	for _, s := range a.Facts().Schemes {
		if s.Usage != u {
			continue
		}
		if s.Leave[p] == Full {
			return u, nil
		}
		why = s.Why
	}
	if why != "" {
		return 0, Errorf(CodeProfile, "the %s profile does not let %s keys be made for %s (%s)", p, a, u, why)
	}
	return 0, Errorf(CodeUsage, "%s keys cannot %s", a, u)
}

// CheckSuccessor is the gate at a rotation to another algorithm: may a version of one follow a version of the other under the same key? The purpose stays, and so does who can
// protect: everybody who has the public half, or only who may use the key.
func CheckSuccessor(from, to Algorithm, u Usage, p Profile) error {
	if _, err := CheckCreate(to, u, p); err != nil {
		return err
	}
	if from.Facts().Asymmetric == to.Facts().Asymmetric {
		return nil
	}
	e := Errorf(CodeAlgorithm, "%s cannot follow %s: with one of them whoever has the public half can protect, with the other only who may use the key", to, from)
	e.Next = "create another key, and move to it with reencrypt"
	return e
}

// CheckSize is the gate at the length of new material: 0 is the algorithm's own; another one, in bytes, is for algorithms whose keys
// may have several lengths.
func CheckSize(a Algorithm, bytes int) error {
	f := a.Facts()
	switch {
	case f.Name == "":
		return Errorf(CodeAlgorithm, "there is no such algorithm")
	case bytes == 0, f.MaxBytes > 0 && bytes >= f.MinBytes && bytes <= f.MaxBytes:
		return nil
	case f.MaxBytes > 0:
		return Errorf(CodeBadRequest, "an %s key of %d bytes was asked for: want %d to %d, or none for %d", a, bytes, f.MinBytes, f.MaxBytes, f.Bits/8)
	}
	return Errorf(CodeBadRequest, "%s keys have one length: ask for none instead of %d bytes", a, bytes)
}

// CheckScheme is the gate before every cryptographic call: may a key of this algorithm and usage do this scheme,
// under this profile? protect is true for encrypt, sign, MAC, agree, encapsulate and wrap, false for decrypt, verify, decapsulate and unwrap.
// NoScheme stands for the default; the effective scheme is returned.
func CheckScheme(a Algorithm, u Usage, s Scheme, p Profile, protect bool) (Scheme, error) {
	if s == NoScheme {
		s = a.DefaultScheme(u)
	}
	return checkRow(a.Facts().Schemes, a, u, s, p, protect)
}

func checkRow(rows []SchemeFacts, a Algorithm, u Usage, s Scheme, p Profile, protect bool) (Scheme, error) {
	for i := range rows {
		f := &rows[i]
		if f.Scheme != s {
			continue
		}
		if f.Usage != u {
			return 0, Errorf(CodeUsage, "%s is for %s, this key is for %s", s, f.Usage, u)
		}
		if f.Leave[p] == Full || f.Leave[p] == ProcessOnly && !protect {
			return s, nil
		}
		return 0, Errorf(CodeProfile, "the %s profile refuses %s with %s (%s)", p, s, a, f.Why)
	}
	return 0, Errorf(CodeAlgorithm, "%s keys cannot do %s", a, s)
}

// CheckLoad is the gate before material of an algorithm is read at all: may its keys still do anything under this profile?
// A key that was made under another profile stays where it is, untouched and unused.
func CheckLoad(a Algorithm, p Profile) error {
	var why string
	for _, s := range a.Facts().Schemes {
		if s.Leave[p] != Refused {
			return nil
		}
		why = s.Why
	}
	if why == "" {
		return Errorf(CodeAlgorithm, "there is no such algorithm")
	}
	return Errorf(CodeProfile, "the %s profile refuses %s keys (%s)", p, a, why)
}
