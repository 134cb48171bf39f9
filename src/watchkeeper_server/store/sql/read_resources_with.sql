-- The resources that have an attribute.
SELECT DISTINCT id FROM resources WHERE attributes[{name:String}] = {value:String} AND mapContains(attributes, {name:String})
