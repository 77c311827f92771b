package inventory

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

// columns are those of the values, in their order. New ones are added at the end.
var columns = []struct {
	name  string
	value func(k *client.InventoryKey) string
}{
	{"id", func(k *client.InventoryKey) string { return k.Key.ID }},
	{"namespace", func(k *client.InventoryKey) string { return k.Key.Namespace }},
	{"name", func(k *client.InventoryKey) string { return k.Key.Name }},
	{"aliases", func(k *client.InventoryKey) string { return strings.Join(k.Key.Aliases, ";") }},
	{"state", func(k *client.InventoryKey) string { return k.Key.State }},
	{"version_state", func(k *client.InventoryKey) string { return k.VersionState }},
	{"primary_version", func(k *client.InventoryKey) string { return number(k.Key.PrimaryVersion) }},
	{"latest_version", func(k *client.InventoryKey) string { return number(k.Key.LatestVersion) }},
	{"algorithm", func(k *client.InventoryKey) string { return k.Key.Algorithm }},
	{"usage", func(k *client.InventoryKey) string { return k.Key.Usage }},
	{"origin", func(k *client.InventoryKey) string { return k.Key.Origin }},
	{"exportable", func(k *client.InventoryKey) string { return strconv.FormatBool(k.Key.Exportable) }},
	{"data_class", func(k *client.InventoryKey) string { return k.Key.DataClass }},
	{"owner", func(k *client.InventoryKey) string { return k.Key.Labels[kms.LabelOwner] }},
	{"purpose", func(k *client.InventoryKey) string { return k.Key.Labels[kms.LabelPurpose] }},
	{"description", func(k *client.InventoryKey) string { return k.Key.Description }},
	{"template", func(k *client.InventoryKey) string { return k.Key.Template }},
	{"labels", func(k *client.InventoryKey) string { return labels(k.Key.Labels) }},
	{"created_at", func(k *client.InventoryKey) string { return moment(k.Key.CreatedAt) }},
	{"rotation", func(k *client.InventoryKey) string { return k.Rotation }},
	{"rotated_at", func(k *client.InventoryKey) string { return moment(k.RotatedAt) }},
	{"next_rotation", func(k *client.InventoryKey) string { return moment(k.NextRotation) }},
	{"overdue", func(k *client.InventoryKey) string { return strconv.FormatBool(k.Overdue) }},
	{"last_used", func(k *client.InventoryKey) string { return moment(k.LastUsed) }},
	{"uses", func(k *client.InventoryKey) string { return number(k.Uses) }},
	{"access_shown", func(k *client.InventoryKey) string { return strconv.FormatBool(k.AccessShown) }},
	{"users", func(k *client.InventoryKey) string { return strings.Join(k.Users, ";") }},
	{"user_count", func(k *client.InventoryKey) string { return number(k.UserCount) }},
	{"managers", func(k *client.InventoryKey) string { return strings.Join(k.Managers, ";") }},
	{"manager_count", func(k *client.InventoryKey) string { return number(k.ManagerCount) }},
	{"data_keys", func(k *client.InventoryKey) string { return number(k.DataKeys) }},
	{"outside_data_keys", func(k *client.InventoryKey) string { return number(k.OutsideDataKeys) }},
	{"destroy_at", func(k *client.InventoryKey) string { return moment(k.Key.DestroyAt) }},
	{"destroyed_at", func(k *client.InventoryKey) string { return moment(k.Key.DestroyedAt) }},
	{"unknown", func(k *client.InventoryKey) string { return strings.Join(k.Unknown, ";") }},
}

func number[N uint32 | uint64](n N) string { return strconv.FormatUint(uint64(n), 10) }

// moment is a time as RFC 3339 spells it, in UTC; none is empty.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// labels are pairs in the order of their names.
func labels(of map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		pairs = append(pairs, name+"="+of[name])
	}
	return strings.Join(pairs, ";")
}

// CSV writes comma-separated values: a line of names, then one for each key, ended by CR LF (RFC 4180 §2).
type CSV struct {
	w    *csv.Writer
	line []string
}

// NewCSV begins with the line of names.
func NewCSV(to io.Writer) (*CSV, error) {
	c := &CSV{w: csv.NewWriter(to), line: make([]string, len(columns))}
	c.w.UseCRLF = true
	for i, col := range columns {
		c.line[i] = col.name
	}
	return c, c.w.Write(c.line)
}

// Add writes a key.
func (c *CSV) Add(k *client.InventoryKey) error {
	for i, col := range columns {
		c.line[i] = inert(col.value(k))
	}
	return c.w.Write(c.line)
}

// Close writes what is left. The writer below stays open.
func (c *CSV) Close() error {
	c.w.Flush()
	if err := c.w.Error(); err != nil {
		return fmt.Errorf("write the values: %w", err)
	}
	return nil
}

// inert keeps a spreadsheet from taking a field for a formula: one that begins like that gets an apostrophe before it (CWE-1236). The wide forms
// of the signs count where East Asian text is usual.
func inert(s string) string {
	if s != "" && strings.ContainsAny(firstRune(s), "=+-@\t\r\n＝＋－＠") {
		return "'" + s
	}
	return s
}

func firstRune(s string) string {
	for i := range s {
		if i > 0 {
			return s[:i]
		}
	}
	return s
}
