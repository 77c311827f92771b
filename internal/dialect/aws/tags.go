package aws

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// maxTags is how many tags a key can have here. It can have more labels, by other dialects.
const maxTags = 50

// labelsOf reads tags that a request brings.
func labelsOf(tags []Tag) (map[string]string, error) {
	if len(tags) > maxTags {
		return nil, newFault(tagFault, "Too many tags")
	}
	labels := make(map[string]string, len(tags))
	for _, t := range tags {
		if _, twice := labels[t.TagKey]; twice {
			return nil, newFault(tagFault, "Duplicate tag keys")
		}
		if reserved(t.TagKey) {
			return nil, newFault(tagFault, "Tags beginning with aws: are reserved")
		}
		labels[t.TagKey] = t.TagValue
	}
	return labels, nil
}

func reserved(key string) bool { return strings.HasPrefix(strings.ToLower(key), "aws:") }

// tagsOf are the labels of a key as tags.
func tagsOf(labels map[string]string) []Tag {
	tags := make([]Tag, 0, len(labels))
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		tags = append(tags, Tag{TagKey: name, TagValue: labels[name]})
	}
	return tags
}

// TagResource sets tags; those that are there already get the new values.
func (x *exchange) TagResource(ctx context.Context, in *TagResourceInput) (*nothing, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	labels, err := labelsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	k := x.admit(func(_ *exchange, k *seen) *fault {
		n := len(k.Labels)
		for name := range labels {
			if _, there := k.Labels[name]; !there {
				n++
			}
		}
		if n > maxTags && n > len(k.Labels) {
			return newFault(tagFault, "Too many tags")
		}
		return nil
	})
	_, err = x.engine.UpdateKey(ctx, x.call, engine.UpdateKeyInput{Key: key, SetLabels: labels})
	return nil, k.or(err)
}

// UntagResource removes tags; those that are not there are no error.
func (x *exchange) UntagResource(ctx context.Context, in *UntagResourceInput) (*nothing, error) {
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(in.TagKeys, reserved) {
		return nil, newFault(tagFault, "Tags beginning with aws: are reserved")
	}
	k := x.admit()
	_, err = x.engine.UpdateKey(ctx, x.call, engine.UpdateKeyInput{Key: key, RemoveLabels: in.TagKeys})
	return nil, k.or(err, instead{kms.CodeTooLarge, tagFault, "Too many tags"})
}

// ListResourceTags pages through the tags of a key, by name.
func (x *exchange) ListResourceTags(ctx context.Context, in *ListResourceTagsInput) (*ListResourceTagsOutput, error) {
	after, err := readMarker(markTags, in.Marker)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize(in.Limit, maxTags, maxTags)
	if err != nil {
		return nil, err
	}
	key, err := x.keyOnly(in.KeyId)
	if err != nil {
		return nil, err
	}
	k := x.admit()
	out, err := x.engine.DescribeKey(ctx, x.call, engine.KeyInput{Key: key})
	if err != nil {
		return nil, k.or(err)
	}
	tags := slices.DeleteFunc(tagsOf(out.Key.Labels), func(t Tag) bool { return t.TagKey <= after && after != "" })
	answer := &ListResourceTagsOutput{Tags: tags}
	if len(tags) > limit {
		answer.Tags, answer.Truncated, answer.NextMarker = tags[:limit], true, marker(markTags, tags[limit-1].TagKey)
	}
	return answer, nil
}
