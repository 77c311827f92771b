package inventory

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

// About is what a bill of materials says of itself.
type About struct {
	Serial  kms.ID    // a UUID that no other bill has
	Made    time.Time //
	Version string    // of the program that makes it
}

// CBOM writes a cryptographic bill of materials: one component for each version of a key, and one for each algorithm that they are of. The names of the
// members are those of the schema.
type CBOM struct {
	w          *bufio.Writer
	begun      bool
	algorithms []algorithmRef // that keys so far refer to
}

type algorithmRef struct {
	algorithm kms.Algorithm
	usage     kms.Usage
}

func (r algorithmRef) String() string {
	return "algorithm/" + r.algorithm.String() + "/" + r.usage.String()
}

type bom struct {
	Schema       string   `json:"$schema"`
	BOMFormat    string   `json:"bomFormat"`
	SpecVersion  string   `json:"specVersion"`
	SerialNumber string   `json:"serialNumber"`
	Version      int      `json:"version"`
	Metadata     metadata `json:"metadata"`
}

type metadata struct {
	Timestamp  string      `json:"timestamp"`
	Lifecycles []lifecycle `json:"lifecycles"`
	Tools      tools       `json:"tools"`
}

type lifecycle struct {
	Phase string `json:"phase"`
}

type tools struct {
	Components []component `json:"components"`
}

type component struct {
	Type             string            `json:"type"`
	Ref              string            `json:"bom-ref,omitempty"`
	Name             string            `json:"name"`
	Version          string            `json:"version,omitempty"`
	Description      string            `json:"description,omitempty"`
	CryptoProperties *cryptoProperties `json:"cryptoProperties,omitempty"`
	Properties       []property        `json:"properties,omitempty"`
}

type cryptoProperties struct {
	AssetType string               `json:"assetType"`
	Algorithm *algorithmProperties `json:"algorithmProperties,omitempty"`
	Material  *materialProperties  `json:"relatedCryptoMaterialProperties,omitempty"`
}

type materialProperties struct {
	Type           string     `json:"type"`
	ID             string     `json:"id"`
	State          string     `json:"state,omitempty"`
	AlgorithmRef   string     `json:"algorithmRef,omitempty"`
	CreationDate   string     `json:"creationDate,omitempty"`
	ActivationDate string     `json:"activationDate,omitempty"`
	ExpirationDate string     `json:"expirationDate,omitempty"`
	Size           int        `json:"size,omitempty"` // in bits
	SecuredBy      *securedBy `json:"securedBy,omitempty"`
}

type securedBy struct {
	Mechanism string `json:"mechanism"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// NewCBOM begins a bill of materials.
func NewCBOM(to io.Writer, about About) (*CBOM, error) {
	c := &CBOM{w: bufio.NewWriter(to)}
	head, err := marshal(bom{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", BOMFormat: "CycloneDX", SpecVersion: "1.6", SerialNumber: "urn:uuid:" + about.Serial.String(), Version: 1,
		Metadata: metadata{Timestamp: moment(about.Made), Lifecycles: []lifecycle{{"operations"}},
			Tools: tools{[]component{{Type: "application", Name: "keyhold", Version: about.Version}}}},
	})
	if err != nil {
		return nil, err
	}
	c.w.Write(head[:len(head)-1]) //nolint:errcheck // a bufio.Writer keeps its error: Close has it
	_, err = c.w.WriteString(",\"components\":[")
	return c, err
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func (c *CBOM) write(one *component) error {
	text, err := marshal(one)
	if err != nil {
		return fmt.Errorf("write the bill of materials: %w", err)
	}
	before := ",\n"
	if !c.begun {
		c.begun, before = true, "\n"
	}
	c.w.WriteString(before) //nolint:errcheck // the next one says it
	if _, err = c.w.Write(text); err != nil {
		return fmt.Errorf("write the bill of materials: %w", err)
	}
	return nil
}

// Add writes the versions of a key that are known: the newest 20. A key without any is one component.
func (c *CBOM) Add(k *client.InventoryKey) error {
	versions := k.Key.Versions
	if len(versions) == 0 {
		versions = []client.KeyVersion{{Algorithm: k.Key.Algorithm, Origin: k.Key.Origin}}
	}
	said := properties(k)
	for i := range versions {
		if err := c.write(c.version(k, &versions[i], said)); err != nil {
			return err
		}
	}
	return nil
}

func (c *CBOM) version(k *client.InventoryKey, v *client.KeyVersion, said []property) *component {
	one := &component{Type: "cryptographic-asset", Ref: "key/" + k.Key.ID, Name: k.Key.Name, Description: k.Key.Description, Properties: said}
	m := &materialProperties{Type: "secret-key", ID: k.Key.ID, CreationDate: moment(v.CreatedAt), ActivationDate: moment(v.ActivateAt),
		ExpirationDate: moment(earlier(v.ExpiresAt, v.DeactivateAt)), State: nistState(v.State)}
	if v.Version != 0 {
		one.Version = strconv.FormatUint(uint64(v.Version), 10)
		one.Ref += "/" + one.Version
		m.ID += "/" + one.Version
		one.Properties = append(slices.Clip(said), property{"keyhold:version:state", v.State}, property{"keyhold:version:origin", v.Origin},
			property{"keyhold:version:primary", strconv.FormatBool(v.Version == k.Key.PrimaryVersion)})
	}
	if mechanism, ok := mechanisms[v.Origin]; ok {
		m.SecuredBy = &securedBy{mechanism}
	}
	algorithm, err := kms.ParseAlgorithm(v.Algorithm)
	usage, wrong := kms.ParseUsage(k.Key.Usage)
	if _, known := purposes[usage]; err == nil && wrong == nil && known { // one that this program does not know is named in the properties alone
		ref := algorithmRef{algorithm, usage}
		if !slices.Contains(c.algorithms, ref) {
			c.algorithms = append(c.algorithms, ref)
		}
		m.AlgorithmRef, m.Size = ref.String(), sizeOf(algorithm, k.Key.Bytes)
		if algorithm.Facts().Asymmetric {
			m.Type = "private-key"
		}
	}
	one.CryptoProperties = &cryptoProperties{AssetType: "related-crypto-material", Material: m}
	return one
}

// Close writes the algorithms and the end. The writer below stays open.
func (c *CBOM) Close() error {
	for _, r := range c.algorithms {
		if err := c.write(&component{Type: "cryptographic-asset", Ref: r.String(), Name: r.algorithm.String(),
			CryptoProperties: &cryptoProperties{AssetType: "algorithm", Algorithm: describe(r)}}); err != nil {
			return err
		}
	}
	c.w.WriteString("\n]}\n") //nolint:errcheck // Flush says it
	if err := c.w.Flush(); err != nil {
		return fmt.Errorf("write the bill of materials: %w", err)
	}
	return nil
}

// properties are what the schema has no member for.
func properties(k *client.InventoryKey) (all []property) {
	add := func(name, value string) {
		if value != "" {
			all = append(all, property{"keyhold:" + name, value})
		}
	}
	add("namespace", k.Key.Namespace)
	add("state", k.Key.State)
	add("usage", k.Key.Usage)
	add("algorithm", k.Key.Algorithm)
	add("data-class", k.Key.DataClass)
	add("owner", k.Key.Labels[kms.LabelOwner])
	add("purpose", k.Key.Labels[kms.LabelPurpose])
	add("template", k.Key.Template)
	add("exportable", strconv.FormatBool(k.Key.Exportable))
	add("rotation", k.Rotation)
	add("rotated-at", moment(k.RotatedAt))
	add("next-rotation", moment(k.NextRotation))
	add("overdue", strconv.FormatBool(k.Overdue))
	add("last-used", moment(k.LastUsed))
	if k.AccessShown {
		add("users", strings.Join(k.Users, ";"))
		add("user-count", number(k.UserCount))
		add("managers", strings.Join(k.Managers, ";"))
		add("manager-count", number(k.ManagerCount))
	}
	add("data-keys", number(k.DataKeys))
	add("unknown", strings.Join(k.Unknown, ";"))
	return all
}

// mechanisms say by what material is secured, by where it comes from.
var mechanisms = map[string]string{
	kms.Generated.String(): "Software", kms.Imported.String(): "Software", kms.HSM.String(): "HSM",
}

// nistState is the state as the schema spells those of SP 800-57. An archived version is a deactivated one that is put away (§7.3 of part 1 has no state for
// it), and one that is destroyed after a compromise is destroyed; the property keyhold:version:state says which.
func nistState(s string) string {
	switch s {
	case kms.PreActive.String():
		return "pre-activation"
	case kms.Archived.String():
		return "deactivated"
	case kms.DestroyedCompromised.String():
		return "destroyed"
	case kms.Active.String(), kms.Suspended.String(), kms.Deactivated.String(), kms.Compromised.String(), kms.Destroyed.String():
		return s
	}
	return ""
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
