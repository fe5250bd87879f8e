-- How long the stages of this boot took, as its agent said last: JSON.
ALTER TABLE boots ADD COLUMN card TEXT;
